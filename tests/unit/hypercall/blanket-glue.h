/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The same as src/blanket-glue.h, for user space: blanket.c over a provider and a dom0 that the test plays (fake_provider.hpp). */
#ifndef BLANKET_GLUE_H
#define BLANKET_GLUE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/hvm/params.h>
#include <xen/memory.h>

#include "hypercall-passthrough/abi/xblanket.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BL_MAX_GRANT_FRAMES 1024u
#define BL_LOCK(name) int name
#define bl_read(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define bl_write(word, value) __atomic_store_n(&(word), value, __ATOMIC_RELEASE)

typedef void *bl_arg_t;
void bl_lock(int *lock);
void bl_unlock(int *lock);
void *bl_zalloc(size_t size);
int bl_copy_in(void *to, bl_arg_t from, size_t size);
int bl_copy_out(bl_arg_t to, const void *from, size_t size);
long bl_may_call(unsigned int cmd);
bool bl_enabled(void);
long bl_evtchn_op(unsigned int cmd, void *arg);
long bl_gnttab_op(unsigned int cmd, void *arg);
long bl_memory_op(unsigned int cmd, void *arg);
long bl_get_param(uint32_t index, uint64_t *value);
long bl_set_param(uint32_t index, uint64_t value);
long bl_shutdown(unsigned int reason);
uint32_t bl_provider_version(void);
uint32_t bl_processors(void);
bool bl_has_processor(uint32_t processor);
uint32_t bl_provider_vcpu(uint32_t processor);
uint32_t bl_delivery(void);
long bl_scan(void);
void bl_mask(uint32_t port);
bool bl_owns_console(void);
int bl_local_alloc(void);
void bl_local_free(uint32_t port);
void bl_local_notify(uint32_t port);
long bl_page_hold(uint64_t frame);
void bl_page_release(uint64_t frame);
uint8_t bl_inb(uint16_t port);
uint16_t bl_inw(uint16_t port);
void bl_outw(uint16_t value, uint16_t port);
void bl_outl(uint32_t value, uint16_t port);

/* blanket.c's own */
long blanket_op(unsigned int cmd, bl_arg_t arg);
bool blanket_upcall(unsigned int port);
void blanket_send(unsigned int local);

#ifdef __cplusplus
}
#endif
#endif /* BLANKET_GLUE_H */
