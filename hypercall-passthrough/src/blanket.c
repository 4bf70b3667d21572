/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arch/x86/guest/xen/blanket.c
 *
 * xblanket_op: what dom0 needs of the provider's Xen (abi/xblanket.h says what each command means). This file is the whole logic: who may call, what is
 * checked, who owns what. It reaches Xen and the provider only through blanket-glue.h, so that the unit tests can run it in user space over a provider of
 * their own.
 *
 * Locks: `lock` serialises all commands and everything below it but two reads without it, in interrupt context: slot[].local in blanket_upcall() and
 * provider_of[] in blanket_send(). Both are single aligned words, written before the port that leads to them can fire and cleared before it is freed.
 */
#ifndef BLANKET_GLUE
#define BLANKET_GLUE "blanket-glue.h"
#endif
#include BLANKET_GLUE

#define LOCAL_PORTS 16384u /* of dom0, that can be the near end of a forwarded channel */

struct slot {
    uint32_t local; /* dom0's port, 0: the slot is free */
    bool store;     /* the provider made the port: it is masked, not closed */
};

static BL_LOCK(lock);
static struct slot slots[XBLANKET_MAX_PORTS];
static uint16_t provider_of[LOCAL_PORTS]; /* by dom0's port; 0: none, as the provider's port 0 is never valid */
static uint64_t *grant_frames;            /* machine frames by index, 0: not mapped */
static uint32_t max_grant_frames, mapped_grant_frames;
static uint32_t unplugged;
static struct xblanket_stats stats;

/* ---------------------------------------------------------------- events */

/* A port of the provider fired; interrupt context. False: it is none of ours. */
bool blanket_upcall(unsigned int port)
{
    uint32_t local;

    if ( port >= XBLANKET_MAX_PORTS )
        return false;
    stats.upcalls++; /* the counters may lose one in a race: they are for people */
    local = bl_read(slots[port].local);
    if ( !local )
    {
        stats.dropped++;
        return false;
    }
    stats.forwarded++;
    bl_local_notify(local);
    return true;
}

/* dom0 sent on its end of a forwarded channel: one event at the provider. Called by Xen without locks. */
void blanket_send(unsigned int local)
{
    struct evtchn_send send = {};

    if ( local >= LOCAL_PORTS )
        return;
    send.port = bl_read(provider_of[local]);
    if ( !send.port )
        return;
    stats.sends++;
    if ( bl_evtchn_op(EVTCHNOP_send, &send) )
        stats.send_failures++;
}

static long close_provider_port(uint32_t port)
{
    struct evtchn_close close = { .port = port };

    return bl_evtchn_op(EVTCHNOP_close, &close);
}

static long bind_to_processor(uint32_t port, uint32_t processor)
{
    struct evtchn_bind_vcpu bind = { .port = port, .vcpu = bl_provider_vcpu(processor) };

    return bl_evtchn_op(EVTCHNOP_bind_vcpu, &bind);
}

/*
 * The provider's end first: nothing may fire at a local port that is free. An upcall that has read the slot on another CPU just before may still do so, and
 * dom0 see one event that is nobody's, as it may from any channel.
 */
static void release(uint32_t port)
{
    struct slot *slot = &slots[port];
    uint32_t local = slot->local;

    if ( slot->store )
        bl_mask(port);
    else
        close_provider_port(port);
    bl_write(slot->local, 0);
    bl_write(provider_of[local], 0);
    bl_local_free(local);
    slot->store = false;
    stats.ports--;
    stats.unbinds++;
}

static long make_port(const struct xblanket_evtchn_bind *bind, uint32_t *port)
{
    uint64_t value;
    long rc;

    if ( bind->kind == XBLANKET_BIND_STORE )
    {
        rc = bl_get_param(HVM_PARAM_STORE_EVTCHN, &value);
        if ( rc )
            return rc;
        if ( !value || value >= XBLANKET_MAX_PORTS )
            return -EOPNOTSUPP;
        *port = value;
        return slots[value].local ? -EBUSY : 0;
    }
    else
    {
        struct evtchn_alloc_unbound alloc = { .dom = DOMID_SELF, .remote_dom = bind->remote };

        rc = bl_evtchn_op(EVTCHNOP_alloc_unbound, &alloc);
        if ( rc )
            return rc;
        if ( !alloc.port || alloc.port >= XBLANKET_MAX_PORTS || slots[alloc.port].local )
        {
            close_provider_port(alloc.port);
            return -ENOSPC;
        }
        *port = alloc.port;
        return 0;
    }
}

static long evtchn_bind(struct xblanket_evtchn_bind *bind)
{
    bool store = bind->kind == XBLANKET_BIND_STORE;
    struct evtchn_unmask unmask;
    uint32_t port = 0;
    int local;
    long rc;

    if ( bind->kind > XBLANKET_BIND_STORE || bind->remote >= DOMID_FIRST_RESERVED || (store && bind->remote) || !bl_has_processor(bind->processor) )
        return -EINVAL;
    if ( bind->reserved[0] || bind->reserved[1] || bind->reserved[2] )
        return -EINVAL;
    if ( bl_delivery() == XBLANKET_DELIVERY_NONE )
        return -EOPNOTSUPP;
    rc = make_port(bind, &port);
    if ( rc )
        return rc;
    local = bl_local_alloc();
    rc = local;
    if ( local <= 0 )
        goto undo;
    rc = -ENOSPC;
    if ( (uint32_t)local >= LOCAL_PORTS )
        goto undo;
    slots[port].store = store;
    bl_write(provider_of[local], port);
    bl_write(slots[port].local, local);
    rc = bind_to_processor(port, bind->processor);
    if ( !rc )
    {
        unmask.port = port;
        rc = bl_evtchn_op(EVTCHNOP_unmask, &unmask);
    }
    stats.ports++;
    stats.binds++;
    if ( rc )
    {
        release(port);
        return rc;
    }
    bind->port = port;
    bind->local_port = local;
    return 0;

 undo:
    if ( local > 0 )
        bl_local_free(local);
    if ( !store )
        close_provider_port(port);
    return rc ? rc : -ENOSPC;
}

static long used_slot(uint32_t port)
{
    if ( port >= XBLANKET_MAX_PORTS )
        return -EINVAL;
    return slots[port].local ? 0 : -ENOENT;
}

static long evtchn_unbind(const struct xblanket_evtchn_port *arg)
{
    long rc = used_slot(arg->port);

    if ( !rc )
        release(arg->port);
    return rc;
}

static long evtchn_affinity(const struct xblanket_evtchn_port *arg)
{
    long rc = used_slot(arg->port);

    if ( rc )
        return rc;
    return bl_has_processor(arg->processor) ? bind_to_processor(arg->port, arg->processor) : -EINVAL;
}

/* ---------------------------------------------------------------- the provider's grant table */

static long learn_grant_size(void)
{
    struct gnttab_query_size size = { .dom = DOMID_SELF };
    long rc;

    if ( max_grant_frames )
        return 0;
    rc = bl_gnttab_op(GNTTABOP_query_size, &size);
    if ( rc || size.status != GNTST_okay )
        return rc ? rc : -EOPNOTSUPP;
    if ( !size.max_nr_frames || size.max_nr_frames > BL_MAX_GRANT_FRAMES )
        size.max_nr_frames = BL_MAX_GRANT_FRAMES;
    grant_frames = bl_zalloc(size.max_nr_frames * sizeof(*grant_frames));
    if ( !grant_frames )
        return -ENOMEM;
    max_grant_frames = size.max_nr_frames;
    return 0;
}

static long map_frame(uint32_t index, uint64_t *frame)
{
    struct xen_add_to_physmap add = { .domid = DOMID_SELF, .space = XENMAPSPACE_grant_table, .idx = index, .gpfn = *frame };
    long rc;

    if ( grant_frames[index] )
    {
        *frame = grant_frames[index];
        return 0;
    }
    rc = bl_page_hold(*frame);
    if ( rc )
        return rc;
    rc = bl_memory_op(XENMEM_add_to_physmap, &add);
    if ( rc )
    {
        /* -EINVAL: before anything was done. Else the provider may have taken the page away already: nobody may have that hole as memory. */
        if ( rc == -EINVAL )
            bl_page_release(*frame);
        return rc;
    }
    grant_frames[index] = *frame;
    mapped_grant_frames++;
    return 0;
}

static long gnttab_map(struct xblanket_gnttab_map *map)
{
    long rc = learn_grant_size();

    map->done = 0;
    if ( rc )
        return rc;
    if ( map->reserved || !map->count || map->count > XBLANKET_GRANT_BATCH || map->first >= max_grant_frames || map->count > max_grant_frames - map->first )
        return -EINVAL;
    for ( ; map->done < map->count; map->done++ )
    {
        rc = map_frame(map->first + map->done, &map->frame[map->done]);
        if ( rc )
            break;
    }
    return rc;
}

/* ---------------------------------------------------------------- the rest */

static long query(struct xblanket_query *out)
{
    long rc = learn_grant_size();

    if ( rc == -ENOMEM )
        return rc;
    *out = (struct xblanket_query){
        .abi_major = XBLANKET_ABI_MAJOR,
        .abi_minor = XBLANKET_ABI_MINOR,
        .provider = XBLANKET_PROVIDER_XEN,
        .provider_version = bl_provider_version(),
        .delivery = bl_delivery(),
        .max_ports = XBLANKET_MAX_PORTS,
        .max_grant_frames = max_grant_frames,
        .mapped_grant_frames = mapped_grant_frames,
        .processors = bl_processors(),
        .unplugged = unplugged,
    };
    return 0;
}

static long get_param(struct xblanket_param *param)
{
    static const uint32_t known[] = {
        [XBLANKET_PARAM_STORE_PFN] = HVM_PARAM_STORE_PFN,
        [XBLANKET_PARAM_STORE_PORT] = HVM_PARAM_STORE_EVTCHN,
        [XBLANKET_PARAM_CONSOLE_PFN] = HVM_PARAM_CONSOLE_PFN,
        [XBLANKET_PARAM_CONSOLE_PORT] = HVM_PARAM_CONSOLE_EVTCHN,
    };

    if ( param->reserved || param->index >= sizeof(known) / sizeof(known[0]) )
        return -EINVAL;
    if ( param->index >= XBLANKET_PARAM_CONSOLE_PFN && bl_owns_console() )
        return -EBUSY;
    return bl_get_param(known[param->index], &param->value);
}

/* The protocol of the provider's platform device: docs/misc/hvm-emulated-unplug in Xen's tree. */
static long unplug(struct xblanket_unplug *arg)
{
    enum { kMagic = 0x49d2, kPort = 0x10, kVersionPort = 0x12, kProduct = 0xb1a, kBuild = 1 };

    if ( !arg->mask || (arg->mask & ~XBLANKET_UNPLUG_ALL) )
        return -EINVAL;
    arg->protocol = 0;
    if ( bl_inw(kPort) != kMagic )
        return -EOPNOTSUPP;
    arg->protocol = bl_inb(kVersionPort);
    if ( arg->protocol >= 1 )
    {
        bl_outw(kProduct, kVersionPort);
        bl_outl(kBuild, kPort);
        if ( bl_inw(kPort) != kMagic ) /* the provider refuses this driver */
            return -EACCES;
    }
    bl_outw(arg->mask, kPort);
    unplugged |= arg->mask;
    return 0;
}

static long shut_down(const struct xblanket_shutdown *arg)
{
    if ( arg->reserved )
        return -EINVAL;
    switch ( arg->reason )
    {
    case XBLANKET_SHUTDOWN_POWEROFF:
    case XBLANKET_SHUTDOWN_REBOOT:
    case XBLANKET_SHUTDOWN_CRASH:
        return bl_shutdown(arg->reason);
    }
    return -EINVAL; /* and no suspend: the local domains would not survive it */
}

static long reset(void)
{
    uint32_t port;

    for ( port = 0; port < XBLANKET_MAX_PORTS; port++ )
        if ( slots[port].local )
            release(port);
    stats.resets++;
    return 0;
}

static long intx(const struct xblanket_intx *arg)
{
    if ( bl_delivery() != XBLANKET_DELIVERY_INTX )
        return -EOPNOTSUPP;
    if ( arg->reserved || arg->bus > 255 || arg->devfn > 255 || arg->pin > 3 )
        return -EINVAL;
    return bl_set_param(HVM_PARAM_CALLBACK_IRQ,
                        ((uint64_t)HVM_PARAM_CALLBACK_TYPE_PCI_INTX << 56) | ((uint64_t)arg->bus << 16) | (arg->devfn << 8) | arg->pin);
}

static long get_stats(struct xblanket_stats *out)
{
    *out = stats;
    out->grant_frames = mapped_grant_frames;
    return 0;
}

/* Copies in, works on the copy, copies out what the call may have changed, also when it failed (GNTTAB_MAP tells how far it came). */
#define WITH(type, work)                                                \
    {                                                                   \
        struct type value;                                              \
                                                                        \
        if ( bl_copy_in(&value, arg, sizeof(value)) )                   \
            return -EFAULT;                                             \
        bl_lock(&lock);                                                 \
        rc = work(&value);                                              \
        bl_unlock(&lock);                                               \
        if ( bl_copy_out(arg, &value, sizeof(value)) )                  \
            rc = -EFAULT;                                               \
        break;                                                          \
    }

long blanket_op(unsigned int cmd, bl_arg_t arg)
{
    long rc = bl_may_call(cmd);

    if ( rc )
        return rc;
    if ( !bl_enabled() )
        return -ENOSYS;
    switch ( cmd )
    {
    case XBLANKET_QUERY: WITH(xblanket_query, query)
    case XBLANKET_GET_PARAM: WITH(xblanket_param, get_param)
    case XBLANKET_GNTTAB_MAP: WITH(xblanket_gnttab_map, gnttab_map)
    case XBLANKET_EVTCHN_BIND: WITH(xblanket_evtchn_bind, evtchn_bind)
    case XBLANKET_EVTCHN_UNBIND: WITH(xblanket_evtchn_port, evtchn_unbind)
    case XBLANKET_EVTCHN_AFFINITY: WITH(xblanket_evtchn_port, evtchn_affinity)
    case XBLANKET_UNPLUG: WITH(xblanket_unplug, unplug)
    case XBLANKET_SHUTDOWN: WITH(xblanket_shutdown, shut_down)
    case XBLANKET_STATS: WITH(xblanket_stats, get_stats)
    case XBLANKET_INTX: WITH(xblanket_intx, intx)

    case XBLANKET_RESET:
        bl_lock(&lock);
        rc = reset();
        bl_unlock(&lock);
        break;

    case XBLANKET_POLL:
        return bl_delivery() == XBLANKET_DELIVERY_INTX ? bl_scan() : -EOPNOTSUPP;

    default:
        rc = -ENOSYS;
    }
    if ( rc )
        stats.refused++;
    return rc;
}
