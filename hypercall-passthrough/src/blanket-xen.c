/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * arch/x86/guest/xen/blanket-xen.c
 *
 * The command line, and what xen.c and the event channels call.
 */
#include <xen/init.h>
#include <xen/lib.h>
#include <xen/param.h>
#include <xen/sched.h>

#include <asm/guest.h>
#include <asm/guest/blanket.h>
#include <asm/guest/xblanket.h>

#include <public/hvm/params.h>

bool __ro_after_init opt_blanket = true;
static bool __ro_after_init opt_intx;
uint32_t __read_mostly blanket_delivery = XBLANKET_DELIVERY_VECTOR;

/* blanket=<bool>|intx */
static int __init cf_check parse_blanket(const char *text)
{
    int value = parse_bool(text, NULL);

    if ( value >= 0 )
        opt_blanket = value;
    else if ( !strcmp(text, "intx") )
        opt_intx = true;
    else
        return -EINVAL;
    return 0;
}
custom_param("blanket", parse_blanket);

static bool __read_mostly callback;

/* Of the whole domain, so the first processor's call decides. Before 4.1 a provider takes the value and raises nothing. */
bool blanket_set_callback(uint8_t vector)
{
    struct xen_hvm_param param = {
        .domid = DOMID_SELF,
        .index = HVM_PARAM_CALLBACK_IRQ,
        .value = ((uint64_t)HVM_PARAM_CALLBACK_TYPE_VECTOR << 56) | vector,
    };

    if ( !callback && opt_blanket && !opt_intx && !pv_shim && cpuid_eax(xen_cpuid_base + 1) >= 0x40001 )
        callback = !xen_hypercall_hvm_op(HVMOP_set_param, &param);
    return callback;
}

bool blanket_callback(void)
{
    return callback;
}

bool blanket_wants_intx(void)
{
    return opt_intx && opt_blanket;
}

int blanket_without_vector(int rc)
{
    blanket_delivery = XBLANKET_DELIVERY_INTX;
    return 0; /* switched off as well: what is left for a machine that does not boot otherwise must not end in upstream's BUG() */
}

void cf_check blanket_notified(struct vcpu *v, unsigned int port)
{
    blanket_send(port);
}
