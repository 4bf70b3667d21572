/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See kernel.h. */
#include "tests/unit/uplink/kernel.h"

#include <time.h>

struct task_struct {
	pthread_t thread;
	int (*work)(void *);
	void *arg;
	bool stop;
};

unsigned long sim_hz = 1000;

static pthread_mutex_t doze_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t doze_end = PTHREAD_COND_INITIALIZER;
static __thread struct task_struct *own;
static struct timer_list *timer_set;
static struct work_struct *work_set;
bool sim_atomic;

unsigned long sim_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned long)now.tv_sec * 1000 + (unsigned long)now.tv_nsec / 1000000;
}

void sim_log(const char *fmt, ...)
{
	va_list args;

	if (!getenv("UPLINK_LOG"))
		return;
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
}

void *sim_alloc(size_t size, gfp_t flags)
{
	return flags & __GFP_ZERO ? calloc(1, size ? size : 1) : malloc(size ? size : 1);
}

char *kvasprintf(gfp_t flags, const char *fmt, va_list args)
{
	va_list again;
	char *text;
	int len;

	(void)flags;
	va_copy(again, args);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	text = malloc((size_t)len + 1);
	vsnprintf(text, (size_t)len + 1, fmt, args);
	return text;
}

char *kasprintf(gfp_t flags, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	text = kvasprintf(flags, fmt, args);
	va_end(args);
	return text;
}

void *kmemdup(const void *from, size_t size, gfp_t flags)
{
	return memcpy(sim_alloc(size, flags), from, size);
}

char *kstrdup(const char *text, gfp_t flags)
{
	return kmemdup(text, strlen(text) + 1, flags);
}

int kstrtou32(const char *text, unsigned int base, u32 *value)
{
	char *end;
	unsigned long number = strtoul(text, &end, (int)base);

	if (end == text || *end || number > UINT32_MAX)
		return -EINVAL;
	*value = (u32)number;
	return 0;
}

struct page *alloc_page(gfp_t flags)
{
	void *page = aligned_alloc(PAGE_SIZE, PAGE_SIZE);

	(void)flags;
	return memset(page, 0, PAGE_SIZE);
}

void put_page(struct page *page)
{
	free(page);
}

static void *run(void *arg)
{
	own = arg;
	own->work(own->arg);
	return NULL;
}

struct task_struct *sim_run(int (*work)(void *), void *arg)
{
	struct task_struct *task = calloc(1, sizeof(*task));

	task->work = work;
	task->arg = arg;
	if (pthread_create(&task->thread, NULL, run, task))
		abort();
	return task;
}

struct task_struct *sim_current(void)
{
	return own;
}

bool kthread_should_stop(void)
{
	return own && READ_ONCE(own->stop);
}

int kthread_stop(struct task_struct *task)
{
	WRITE_ONCE(task->stop, true);
	sim_wake();
	pthread_join(task->thread, NULL);
	free(task);
	return 0;
}

void sim_doze(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	pthread_mutex_lock(&doze_lock);
	pthread_cond_timedwait(&doze_end, &doze_lock, &until);
	pthread_mutex_unlock(&doze_lock);
}

void sim_wake(void)
{
	pthread_mutex_lock(&doze_lock);
	pthread_cond_broadcast(&doze_end);
	pthread_mutex_unlock(&doze_lock);
}

void mod_timer(struct timer_list *timer, unsigned long at)
{
	timer->at = at;
	timer_set = timer;
}

void timer_delete_sync(struct timer_list *timer)
{
	if (timer_set == timer)
		timer_set = NULL;
}

void schedule_work(struct work_struct *work)
{
	work_set = work;
}

void cancel_work_sync(struct work_struct *work)
{
	if (work_set == work)
		work_set = NULL;
}

bool sim_run_work(void)
{
	struct work_struct *work = work_set;

	work_set = NULL;
	if (work)
		work->fn(work);
	return work != NULL;
}

bool sim_run_timer(void)
{
	struct timer_list *timer = timer_set;

	timer_set = NULL;
	if (timer)
		timer->fn(timer);
	return timer != NULL;
}
