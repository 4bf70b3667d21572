/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A GRUB module: lets the Xen loader of GRUB 2.12 read kernels compressed with zstd, as Debian 13 and most distros ship
   them. GRUB's loader opens the kernel inside a bzImage through its decompression filters; this one stands before xzio,
   unpacks a zstd payload into memory at once, and hands everything else on. Built by pvgrub/build. */
#include "grub_abi.h"

__attribute__((section(".module_license"), used)) static const char license[] = "LICENSE=GPLv2+";
__attribute__((section(".modname"), used)) static const char name[] = "zstdio";
__attribute__((section(".moddeps"), used)) static const char needs[] = "zstd\0xzio";

enum { max_packed = 128 << 20, max_kernel = 512 << 20 };
static const unsigned char magic[4] = {0x28, 0xb5, 0x2f, 0xfd};
static grub_file_filter_t next_filter;

static void *zstd_allocate(void *opaque, size_t size) { (void)opaque; return grub_malloc(size); }
static void zstd_release(void *opaque, void *memory) { (void)opaque; grub_free(memory); }

struct unpacked {
    struct grub_file *below;
    char *bytes;
};

static int64_t zstdio_read(struct grub_file *file, char *buffer, size_t length) {
    struct unpacked *data = file->data;
    grub_memmove(buffer, data->bytes + file->offset, length); /* grub_file_read has cut length to the size */
    return (int64_t)length;
}

static int zstdio_close(struct grub_file *file) {
    struct unpacked *data = file->data;
    grub_file_close(data->below);
    grub_free(data->bytes);
    grub_free(data);
    file->device = 0; /* closed with the file below */
    file->name = 0;
    return grub_errno;
}

static struct grub_fs zstdio_fs = {.name = "zstdio", .fs_read = zstdio_read, .fs_close = zstdio_close};

/* Unpacks the payload: one zstd frame, then the size of the kernel in 4 bytes, least significant first. */
static char *unpack(struct grub_file *in, size_t *size) {
    unsigned char *packed = 0;
    char *out = 0;
    void *context = 0;
    size_t frame, written = 0, wanted = 0;
    const zstd_memory memory = {zstd_allocate, zstd_release, 0};

    if (in->size < 8 || in->size > max_packed) return 0;
    packed = grub_malloc(in->size);
    if (!packed || grub_file_read(in, packed, in->size) != (int64_t)in->size) goto done;
    frame = ZSTD_findFrameCompressedSize(packed, in->size - 4);
    if (ZSTD_isError(frame)) goto done;
    const unsigned char *tail = packed + in->size - 4;
    wanted = tail[0] | tail[1] << 8 | tail[2] << 16 | (size_t)tail[3] << 24;
    if (wanted == 0 || wanted > max_kernel) goto done;
    out = grub_malloc(wanted);
    context = ZSTD_createDCtx_advanced(memory);
    if (out && context) written = ZSTD_decompressDCtx(context, out, wanted, packed, frame);
    if (ZSTD_isError(written) || written != wanted) {
        grub_free(out);
        out = 0;
    }
done:
    if (context) ZSTD_freeDCtx(context);
    grub_free(packed);
    *size = wanted;
    return out;
}

static struct grub_file *zstdio_open(struct grub_file *in, int type) {
    unsigned char head[4];
    struct grub_file *file;
    struct unpacked *data;
    size_t size = 0;

    if (type != grub_file_type_linux_kernel) return next_filter ? next_filter(in, type) : in;
    grub_file_seek(in, 0);
    const int is_zstd = grub_file_read(in, head, sizeof(head)) == sizeof(head) && head[0] == magic[0] && head[1] == magic[1] &&
                        head[2] == magic[2] && head[3] == magic[3];
    grub_file_seek(in, 0);
    grub_errno = grub_err_none;
    if (!is_zstd) return next_filter ? next_filter(in, type) : in;

    file = grub_zalloc(sizeof(*file));
    data = grub_zalloc(sizeof(*data));
    if (file && data) data->bytes = unpack(in, &size);
    if (!file || !data || !data->bytes) { /* the loader then says that this is no kernel it knows */
        grub_free(file);
        grub_free(data);
        grub_file_seek(in, 0);
        grub_errno = grub_err_none;
        return in;
    }
    data->below = in;
    file->device = in->device;
    file->fs = &zstdio_fs;
    file->size = size;
    file->data = data;
    return file;
}

static __attribute__((used)) void grub_mod_init(void *module) {
    (void)module;
    next_filter = grub_file_filters[grub_filter_xzio];
    grub_file_filters[grub_filter_xzio] = zstdio_open;
}

static __attribute__((used)) void grub_mod_fini(void) { grub_file_filters[grub_filter_xzio] = next_filter; }
