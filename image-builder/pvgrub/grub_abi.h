/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of GRUB 2.12's module interface that zstdio.c uses (Debian ships the modules without headers). pvgrub/build
   refuses any other GRUB version, since these layouts are not promised from one version to the next. */
#ifndef BLANKET_GRUB_ABI_H
#define BLANKET_GRUB_ABI_H
#include <stddef.h>
#include <stdint.h>

enum { grub_file_type_linux_kernel = 3, grub_file_type_mask = 0xffff };
enum { grub_filter_xzio = 2, grub_filter_count = 4 };
enum { grub_err_none = 0 };

struct grub_file;
struct grub_fs {
    struct grub_fs *next, **prev;
    const char *name;
    void *module; /* none: filters stay loaded */
    int (*fs_dir)(void *device, const char *path, void *hook, void *hook_data);
    int (*fs_open)(struct grub_file *file, const char *name);
    int64_t (*fs_read)(struct grub_file *file, char *buffer, size_t length);
    int (*fs_close)(struct grub_file *file);
    void *more[8]; /* label, uuid, mtime ...: not used for a filter */
};
struct grub_file {
    char *name;
    void *device;
    struct grub_fs *fs;
    uint64_t offset, progress_offset;
    uint64_t last_progress_time, last_progress_offset, estimated_speed;
    uint64_t size;
    int not_easily_seekable;
    void *data;
    void *read_hook, *read_hook_data;
};
typedef struct grub_file *(*grub_file_filter_t)(struct grub_file *in, int type);

extern grub_file_filter_t grub_file_filters[grub_filter_count];
extern int grub_errno;
void *grub_malloc(size_t size);
void *grub_zalloc(size_t size);
void grub_free(void *memory);
void *grub_memmove(void *to, const void *from, size_t size);
int64_t grub_file_read(struct grub_file *file, void *buffer, size_t length);
uint64_t grub_file_seek(struct grub_file *file, uint64_t offset);
int grub_file_close(struct grub_file *file);

/* zstd.mod (zstd 1.3.6, there for btrfs) */
typedef struct {
    void *(*allocate)(void *opaque, size_t size);
    void (*release)(void *opaque, void *memory);
    void *opaque;
} zstd_memory;
void *ZSTD_createDCtx_advanced(zstd_memory memory);
size_t ZSTD_freeDCtx(void *context);
size_t ZSTD_decompressDCtx(void *context, void *to, size_t capacity, const void *from, size_t size);
size_t ZSTD_findFrameCompressedSize(const void *from, size_t size);
unsigned ZSTD_isError(size_t code);
#endif
