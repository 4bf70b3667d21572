/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * asm/guest/blanket.h
 *
 * Between xen.c, which owns the provider's events, and blanket.c, which gives them to dom0.
 */
#ifndef __X86_GUEST_BLANKET_H__
#define __X86_GUEST_BLANKET_H__

#include <xen/types.h>

struct vcpu;

#ifdef CONFIG_XEN_BLANKET

extern bool opt_blanket;         /* blanket=<bool> */
extern uint32_t blanket_delivery; /* enum xblanket_delivery */

bool blanket_upcall(unsigned int port);
void blanket_send(unsigned int local);
void cf_check blanket_notified(struct vcpu *v, unsigned int port);

bool blanket_set_callback(uint8_t vector); /* true: the provider raises this vector itself, at any vCPU */
bool blanket_callback(void);         /* it does: there is no end of interrupt to write */
bool blanket_wants_intx(void);       /* blanket=intx: as if the provider were an old one */
int blanket_without_vector(int rc);  /* it is; 0: Xen goes on without */

/* xen.c's: forwards what is pending at the provider's first vCPU; how many events that were. */
unsigned int xen_evtchn_poll(void);

#else

static inline bool blanket_upcall(unsigned int port) { return false; }
static inline bool blanket_set_callback(uint8_t vector) { return false; }
static inline bool blanket_callback(void) { return false; }
static inline bool blanket_wants_intx(void) { return false; }
static inline int blanket_without_vector(int rc) { return rc; }

#endif /* CONFIG_XEN_BLANKET */
#endif /* __X86_GUEST_BLANKET_H__ */
