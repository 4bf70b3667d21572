/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The one hypercall that the blanket's hypervisor adds: what its dom0 needs of the provider's Xen to drive the provider's paravirtual devices.
 * Included by the hypervisor, by the dom0 kernel modules and by a C++ test that pins every size and offset.
 *
 *     long xblanket_op(unsigned int cmd, void *arg)        hypercall number XBLANKET_HYPERCALL, 64-bit PV only
 *
 * Names: "the provider" is the Xen that runs this virtual machine, "local" is the Xen inside it. Every structure is copied in, checked, and copied out; it
 * holds no pointers. Zero, or a negative errno:
 *     -ENOSYS   no provider Xen, switched off (`blanket=0`), or an unknown command; so QUERY tells a driver whether to stay silent
 *     -EPERM    not the hardware domain
 *     -EINVAL   a field out of its bounds        -EBUSY / -ENOENT   the port or frame is / is not in use
 *     -EOPNOTSUPP  this provider cannot do it    else what the provider answered
 * Within a major version structures only gain meaning for fields that are zero now: a `reserved` input that is not zero is -EINVAL.
 */
#ifndef XBLANKET_H
#define XBLANKET_H

#if defined(__XEN__)
#include <xen/types.h>
#elif defined(__KERNEL__)
#include <linux/types.h>
#else
#include <stdint.h>
#endif

#define XBLANKET_HYPERCALL 54u /* __HYPERVISOR_arch_6: free on x86 in all versions of Xen */
#define XBLANKET_ABI_MAJOR 1u
#define XBLANKET_ABI_MINOR 0u

#define XBLANKET_MAX_PORTS 4096u /* of the provider: 2-level event channels */
#define XBLANKET_GRANT_BATCH 16u

enum xblanket_cmd {
    XBLANKET_QUERY = 0,           /* struct xblanket_query */
    XBLANKET_GET_PARAM = 1,       /* struct xblanket_param */
    XBLANKET_GNTTAB_MAP = 2,      /* struct xblanket_gnttab_map */
    XBLANKET_EVTCHN_BIND = 3,     /* struct xblanket_evtchn_bind */
    XBLANKET_EVTCHN_UNBIND = 4,   /* struct xblanket_evtchn_port */
    XBLANKET_EVTCHN_AFFINITY = 5, /* struct xblanket_evtchn_port */
    XBLANKET_UNPLUG = 6,          /* struct xblanket_unplug */
    XBLANKET_SHUTDOWN = 7,        /* struct xblanket_shutdown; returns only on failure */
    XBLANKET_RESET = 8,           /* no argument */
    XBLANKET_STATS = 9,           /* struct xblanket_stats */
    XBLANKET_INTX = 10,           /* struct xblanket_intx; only where QUERY says XBLANKET_DELIVERY_INTX */
    XBLANKET_POLL = 11,           /* no argument; the number of events forwarded. What the handler of that interrupt calls */
};

enum xblanket_provider { XBLANKET_PROVIDER_NONE = 0, XBLANKET_PROVIDER_XEN = 1 };

/* How the provider's events come to the local Xen. */
enum xblanket_delivery {
    XBLANKET_DELIVERY_NONE = 0,
    XBLANKET_DELIVERY_VECTOR = 1, /* one interrupt vector per processor */
    XBLANKET_DELIVERY_INTX = 2,   /* an old provider: the interrupt line of its platform device, which dom0 handles */
};

struct xblanket_query { /* out */
    uint32_t abi_major, abi_minor;
    uint32_t provider;         /* enum xblanket_provider */
    uint32_t provider_version; /* major << 16 | minor */
    uint32_t delivery;         /* enum xblanket_delivery */
    uint32_t max_ports;
    uint32_t max_grant_frames;    /* that the provider allows: 512 grants of version 1 each */
    uint32_t mapped_grant_frames; /* so far */
    uint32_t processors;          /* bounds `processor`, as the local Xen numbers them; one that is offline is -EINVAL */
    uint32_t unplugged;           /* mask that UNPLUG has had so far */
    uint32_t reserved[6];
};

enum xblanket_param_index {
    XBLANKET_PARAM_STORE_PFN = 0,
    XBLANKET_PARAM_STORE_PORT = 1,
    XBLANKET_PARAM_CONSOLE_PFN = 2, /* -EBUSY when the local Xen has the provider's console itself */
    XBLANKET_PARAM_CONSOLE_PORT = 3,
};

struct xblanket_param {
    uint32_t index; /* in */
    uint32_t reserved;
    uint64_t value; /* out */
};

/*
 * Puts frames of the provider's grant table over pages of dom0. In `frame`, for an index that has none yet: the machine frame of one of dom0's own pages,
 * which is held for good from then on (it is the grant table: it can be neither freed, ballooned nor made a page table). Out: the machine frame of each
 * index, old or new. So a module that was loaded again finds the table where it was. After an error of the provider's other than -EINVAL the first frame
 * that is not done stays held, and is not to be used any more: the provider may have taken it away.
 */
struct xblanket_gnttab_map {
    uint32_t first, count;                   /* in: grant frames, count 1..XBLANKET_GRANT_BATCH */
    uint32_t done;                           /* out: how many of them are mapped */
    uint32_t reserved;
    uint64_t frame[XBLANKET_GRANT_BATCH];    /* in, out */
};

enum xblanket_bind_kind {
    XBLANKET_BIND_UNBOUND = 0, /* a new port of the provider, for `remote` to bind to */
    XBLANKET_BIND_STORE = 1,   /* the provider's xenstore port, which it made itself */
};

/* Events of the provider's port come out of `local_port`, which dom0 binds to itself (EVTCHNOP_bind_interdomain, DOMID_SELF); a send there goes to the provider. */
struct xblanket_evtchn_bind {
    uint32_t kind;      /* in */
    uint32_t remote;    /* in: the provider's domain id of the backend; 0 for XBLANKET_BIND_STORE */
    uint32_t processor; /* in: where the provider interrupts */
    uint32_t port;      /* out: the provider's */
    uint32_t local_port; /* out */
    uint32_t reserved[3];
};

struct xblanket_evtchn_port {
    uint32_t port;      /* in: the provider's */
    uint32_t processor; /* in: AFFINITY */
};

/* The emulated devices that go; they come back with the virtual machine's next reset only. */
#define XBLANKET_UNPLUG_DISKS 1u /* IDE and SCSI disks, not the CD drives */
#define XBLANKET_UNPLUG_NICS 2u
#define XBLANKET_UNPLUG_AUX_DISKS 4u /* IDE disks but the first */
#define XBLANKET_UNPLUG_NVME 8u
#define XBLANKET_UNPLUG_ALL 15u

struct xblanket_unplug {
    uint32_t mask;     /* in */
    uint32_t protocol; /* out: of the provider, 0 is the oldest. -EOPNOTSUPP: there is no such device, nothing was done; -EACCES: it refuses us, as well */
};

enum xblanket_shutdown_reason { XBLANKET_SHUTDOWN_POWEROFF = 0, XBLANKET_SHUTDOWN_REBOOT = 1, XBLANKET_SHUTDOWN_CRASH = 3 };

struct xblanket_shutdown {
    uint32_t reason; /* in */
    uint32_t reserved;
};

struct xblanket_intx {
    uint32_t bus, devfn; /* in: of the provider's platform device, on PCI segment 0 */
    uint32_t pin;        /* in: 0..3 */
    uint32_t reserved;
};

struct xblanket_stats { /* out; since boot, but `ports` and `grant_frames`: now */
    uint64_t upcalls, forwarded, dropped, sends, send_failures;
    uint64_t binds, unbinds, resets, refused; /* refused: calls that ended with an error */
    uint64_t ports, grant_frames;
    uint64_t reserved[5];
};

#if defined(__cplusplus)
#define XBLANKET_ASSERT(what) static_assert(what, #what)
#else
#define XBLANKET_ASSERT(what) _Static_assert(what, #what)
#endif
XBLANKET_ASSERT(sizeof(struct xblanket_query) == 64);
XBLANKET_ASSERT(sizeof(struct xblanket_param) == 16);
XBLANKET_ASSERT(sizeof(struct xblanket_gnttab_map) == 144);
XBLANKET_ASSERT(sizeof(struct xblanket_evtchn_bind) == 32);
XBLANKET_ASSERT(sizeof(struct xblanket_evtchn_port) == 8);
XBLANKET_ASSERT(sizeof(struct xblanket_unplug) == 8);
XBLANKET_ASSERT(sizeof(struct xblanket_shutdown) == 8);
XBLANKET_ASSERT(sizeof(struct xblanket_intx) == 16);
XBLANKET_ASSERT(sizeof(struct xblanket_stats) == 128);

#endif /* XBLANKET_H */
