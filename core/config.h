/* Settings from a YAML file and from the command line, into one struct, by one table: it drives the reading of the file,
 * options and their --help, the summary of `config check`, and what a reload says.
 *
 * Read with libyaml's parser. libcyaml, which is built on it, ends at the first error and takes a key that is given twice;
 * a person who checks a file wants all errors at once, each with line and column, and a key given twice is one of them.
 *
 * Nothing is guessed: unknown and repeated keys, wrong types, values out of range, anchors, aliases, tags and second
 * documents are errors. An empty file, or an empty section, leaves the defaults. Pure but for config_read(). */
#ifndef P2PD_CORE_CONFIG_H
#define P2PD_CORE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/addr.h"
#include "core/options.h"

enum {
	CONFIG_FILE_MAX = 65536, /* bytes */
	CONFIG_DEPTH_MAX = 4,	 /* of nested mappings and lists; ours have 2 */
	CONFIG_ENTRIES_MAX = 32,
	CONFIG_KEY_MAX = 64,
	CONFIG_LIST_MAX = 8,
	CONFIG_ERRORS_MAX = 20, /* that are shown, the others are counted */
	CONFIG_LINE = 640,
	CONFIG_SHOW = 2112, /* the longest value as text */
};

/* What a setting's target in the struct is. */
enum config_kind {
	CONFIG_TEXT,   /* char[max]; "" stands for none */
	CONFIG_NUMBER, /* long, min to max; 0 may stand for none when min is more */
	CONFIG_FLAG,   /* enum config_flag */
	CONFIG_ADDR,   /* struct addr, from ADDRESS:PORT; ADDR_NONE stands for none */
	CONFIG_ADDRS,  /* struct config_addrs */
	CONFIG_WORDS,  /* char[max]: "a,b", from a list, or words with commas between; "" stands for none */
	CONFIG_RATE,   /* uint32_t, bytes a second, from 100mbit */
	CONFIG_SIZE,   /* uint64_t, bytes, from 500GB */
	CONFIG_TIME,   /* uint64_t, seconds, from 90d */
	CONFIG_OTHERS, /* no target: any value is passed over, for another reader of the file */
};

enum config_flag { CONFIG_UNSET, CONFIG_NO, CONFIG_YES };

struct config_addrs {
	struct addr items[CONFIG_LIST_MAX];
	size_t count;
};

struct config_entry {
	const char *key; /* "certificate.cert": the cert of the mapping certificate; NULL ends the table */
	enum config_kind kind;
	size_t offset;		    /* of the target */
	const char *option;	    /* the same on the command line, without dashes; NULL: none */
	const char *value, *help;   /* as in struct options_entry */
	long min, max;		    /* see enum config_kind */
	uint16_t port;		    /* of an address that names none */
	const char *none;	    /* the word for 0 of a rate, size or time */
	const char *takes;	    /* what the value is, for messages; NULL: as its kind says */
	bool (*fits)(const char *); /* of a text, of each word; NULL: any that has at least one character */
	bool live;		    /* can change while the program runs */
	bool hushed;		    /* messages do not repeat a wrong value: it may be a secret */
};

struct config_place {
	unsigned line, column; /* from 1; 0: not in the file */
};

/* One reading of a file. */
struct config_file {
	const char *path;			    /* for messages */
	struct config_place at[CONFIG_ENTRIES_MAX]; /* of each entry's value */
	unsigned errors;
	char error[CONFIG_ERRORS_MAX][CONFIG_LINE]; /* "FILE:LINE:COLUMN: what is wrong, what is expected" */
};

/* 0, or -EBADMSG with f->error: then what `base` points to is filled by half, to be thrown away. What the file does not
 * name stays as it is there. `f` is new in each call. */
int config_parse(struct config_file *f, const struct config_entry *entries, void *base, const char *path,
		 const char *text, size_t len);
/* The same of a file; also another negative errno, with one error that says so. */
int config_read(struct config_file *f, const struct config_entry *entries, void *base, const char *path);
/* One more error, at the place of `key` in the file. */
__attribute__((format(printf, 4, 5))) void config_complain(struct config_file *f,
							   const struct config_entry *entries,
							   const char *key, const char *fmt, ...);
void config_print_errors(const struct config_file *f, FILE *out);
/* The same of a reload, which then has changed nothing. */
void config_log_errors(const char *module, const struct config_file *f);

/* Sets a setting from its text; addresses and words are added to their list. 0 or -EINVAL. */
int config_set(const struct config_entry *e, void *base, const char *text);
/* A setting as its text, "" for none. Returns `out`. */
const char *config_show(const struct config_entry *e, const void *base, char out[static CONFIG_SHOW]);
/* What is in effect, one line each, with those that `f` (may be NULL) does not name marked as defaults. */
void config_print(const struct config_file *f, const struct config_entry *entries, const void *base,
		  FILE *out);
/* Logs what differs, a line each, and what of it takes a restart to come into effect. How many differ. */
size_t config_log_changes(const char *module, const struct config_entry *entries, const void *before,
			  const void *after);
/* Copies what can change at run time. */
void config_take_live(const struct config_entry *entries, void *base, const void *from);
/* Whether the setting `key` differs. */
bool config_differs(const struct config_entry *entries, const char *key, const void *before,
		    const void *after);

/* What was typed, in the table's order. */
struct config_typed {
	struct options_list values[CONFIG_ENTRIES_MAX];
};

/* Writes the options of the table, at most CONFIG_ENTRIES_MAX; how many. */
size_t config_options(const struct config_entry *entries, struct config_typed *typed,
		      struct options_entry *out);
/* What was typed wins over what is there. EXIT_OK, or EXIT_USAGE after a line that says what is wrong. */
int config_set_typed(const struct config_entry *entries, const struct config_typed *typed, void *base);

#endif
