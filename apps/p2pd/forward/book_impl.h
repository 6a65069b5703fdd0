/* What book.c and book_file.c share, and nobody else includes. The file: {"schema": "p2pd.forwards/1", "forwards": [RULE with "stats", ...]}. */
#ifndef P2PD_APPS_P2PD_FORWARD_BOOK_IMPL_H
#define P2PD_APPS_P2PD_FORWARD_BOOK_IMPL_H

#include "apps/p2pd/forward/book.h"

struct book_item {
	struct rule rule;
	struct forward_stats stats;
	bool fresh, gone; /* made, or replaced, by the change under way; see book.c */
};

/* 0 or a negative errno. */
int book_file_write(int dir, struct book_item *const *items, size_t count);
/* What would be written, to be freed; NULL without memory. */
char *book_file_text(struct book_item *const *items, size_t count);
/* Each item to be freed, also on an error. 0, no file being an empty book; -EBADMSG after it was put aside; or another
 * negative errno. */
int book_file_read(int dir, struct book_item *items[static BOOK_RULES_MAX], size_t *count);
/* Renames the file, so that nothing of it is lost, and logs `why`. -EBADMSG, or why it cannot be. */
int book_file_put_aside(int dir, const char *why);

#endif
