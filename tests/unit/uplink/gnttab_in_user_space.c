/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module's grant table as it is, and its variables. */
#include "blanket-drivers/gnttab.c"

unsigned int gnttab_free(void)
{
	return free_count;
}

void gnttab_as_loaded(void)
{
	mapped = limit = free_count = used = 0;
	free_head = LIST_END;
	callbacks = NULL;
	deferred.next = deferred.prev = &deferred;
}
