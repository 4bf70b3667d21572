// SPDX-License-Identifier: GPL-2.0-or-later
/* uplink-blk.ko: the distribution's block frontend, for the provider's disks; and an end for what it asked a backend that lied or has gone. */
#include "rename.h"
#include <linux/blk-mq.h>
#include <linux/blkdev.h>

static int uplink_alloc_tag_set(struct blk_mq_tag_set *set);
static void uplink_del_gendisk(struct gendisk *disk);
#define blk_mq_alloc_tag_set uplink_alloc_tag_set
#define del_gendisk uplink_del_gendisk
#include "xen-blkfront.c"
#undef blk_mq_alloc_tag_set
#undef del_gendisk
#include "uplink.h" /* its prototypes beside the renamed ones of the kernel: where they differ, the build ends here */
MODULE_ALIAS("blanket:vbd");

/* The frontend keeps what comes after a lie for later, and there is no later. */
static blk_status_t queue_or_fail(struct blk_mq_hw_ctx *hctx, const struct blk_mq_queue_data *data)
{
	const struct blkfront_info *info = hctx->queue->queuedata;

	return READ_ONCE(info->connected) == BLKIF_STATE_ERROR ? BLK_STS_IOERR : blkif_queue_rq(hctx, data);
}

static int uplink_alloc_tag_set(struct blk_mq_tag_set *set)
{
	static struct blk_mq_ops ops;
	struct blk_mq_ops mine = *set->ops;

	mine.queue_rq = queue_or_fail;
	ops = mine;
	set->ops = &ops;
	return blk_mq_alloc_tag_set(set);
}

/* Whether the backend can no longer reach a request's pages. */
static bool let_go(const struct blk_shadow *shadow)
{
	const bool indirect = shadow->req.operation == BLKIF_OP_INDIRECT;
	unsigned int i, pages = indirect ? shadow->req.u.indirect.nr_segments : shadow->req.u.rw.nr_segments, held = 0;

	if (!indirect && shadow->req.operation != BLKIF_OP_READ && shadow->req.operation != BLKIF_OP_WRITE)
		return true;
	for (i = 0; i < pages; i++)
		held += !gnttab_end_foreign_access_ref(shadow->grants_used[i]->gref);
	return !held;
}

/* For good: nobody but this backend knows when it writes to them. */
static void keep_pages(struct request *request)
{
	struct req_iterator each;
	struct bio_vec part;

	rq_for_each_segment(part, request, each)
		get_page(part.bv_page);
}

static bool fail(struct request *request, void *unused)
{
	blkif_req(request)->error = BLK_STS_IOERR;
	if (!blk_mq_request_completed(request))
		blk_mq_complete_request(request);
	return true;
}

/*
 * Ends what the backend has not answered. A request's own pages are granted where there are no bounce buffers: those that the backend
 * still holds are lost.
 */
static void give_up(struct blkfront_info *info)
{
	struct blkfront_ring_info *ring;
	unsigned int i, j, kept = 0;

	blk_mq_quiesce_queue(info->rq);
	WRITE_ONCE(info->connected, BLKIF_STATE_ERROR);
	for_each_rinfo(info, ring, i) {
		spin_lock_irq(&ring->ring_lock); /* who takes answers just now comes to his end */
		for (j = 0; j < BLK_RING_SIZE(info); j++) {
			struct blk_shadow *shadow = &ring->shadow[j];
			/* A lie in the midst of taking an answer: some of its grants are on the free list already, and would be freed twice. */
			const bool torn = shadow->status == REQ_PROCESSING;

			if (!shadow->request || (!torn && (info->bounce || let_go(shadow))))
				continue;
			if (!info->bounce)
				keep_pages(shadow->request);
			if (torn)
				shadow->request = NULL;
			kept++;
		}
		spin_unlock_irq(&ring->ring_lock);
	}
	if (kept)
		dev_warn(&info->xbdev->dev, "the pages of %u requests are lost: the backend has not let go of them\n", kept);
	blk_mq_tagset_busy_iter(&info->tag_set, fail, NULL);
	blk_mq_unquiesce_queue(info->rq);
	blk_mq_start_stopped_hw_queues(info->rq, true);
}

/* A disk whose backend answers is emptied first, as ever. For another one the kernel would wait for answers that never come, and with it the bus. */
static void uplink_del_gendisk(struct gendisk *disk)
{
	struct blkfront_info *info = disk->private_data;

	/* The second: the provider has removed the disk without asking, whatever the backend's folder still says. */
	if (info->connected == BLKIF_STATE_ERROR || uplink_read_driver_state(info->xbdev->nodename) == XenbusStateUnknown ||
	    uplink_read_driver_state(info->xbdev->otherend) != XenbusStateConnected)
		give_up(info);
	del_gendisk(disk);
}
