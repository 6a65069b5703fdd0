/* The file's side: libyaml's events, compared with the table as they come. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "core/config_impl.h"

struct reading {
	struct config_file *file;
	const struct config_entry *entries;
	void *base;
	yaml_parser_t parser;
	yaml_event_t event; /* the last one read */
	unsigned depth;
	bool ended; /* nothing more can be read, and it has been said why */
};

/* A mapping: which of its keys came, by the entry that they lead to first, and in which line. */
struct mapping {
	char prefix[CONFIG_KEY_MAX]; /* "certificate." */
	unsigned line[CONFIG_ENTRIES_MAX];
};

__attribute__((format(printf, 3, 0))) static void add_error(struct config_file *f, struct config_place at,
							    const char *fmt, va_list ap)
{
	unsigned i = f->errors++;

	if (i >= CONFIG_ERRORS_MAX)
		return;
	char *line = f->error[i];
	int used = at.line ? snprintf(line, CONFIG_LINE, "%.200s:%u:%u: ", f->path, at.line, at.column)
			   : snprintf(line, CONFIG_LINE, "%.200s: ", f->path);
	vsnprintf(line + used, CONFIG_LINE - (size_t)used, fmt, ap);
	/* What the file holds must not steer the terminal. */
	for (; *line; line++)
		if ((unsigned char)*line < ' ' || *line == 127)
			*line = '?';
}

void config_complain(struct config_file *f, const struct config_entry *entries, const char *key,
		     const char *fmt, ...)
{
	struct config_place at = { 0 };
	va_list ap;

	for (const struct config_entry *e = entries; e->key; e++)
		if (!strcmp(e->key, key))
			at = f->at[e - entries];
	va_start(ap, fmt);
	add_error(f, at, fmt, ap);
	va_end(ap);
}

__attribute__((format(printf, 3, 4))) static void complain_at(struct reading *r, yaml_mark_t mark,
							      const char *fmt, ...)
{
	struct config_place at = { (unsigned)mark.line + 1, (unsigned)mark.column + 1 };
	va_list ap;

	va_start(ap, fmt);
	add_error(r->file, at, fmt, ap);
	va_end(ap);
}

static bool end_reading(struct reading *r)
{
	r->ended = true;
	return false;
}

static bool cannot_parse(struct reading *r)
{
	const yaml_parser_t *p = &r->parser;

	if (p->error == YAML_MEMORY_ERROR)
		complain_at(r, p->mark, "out of memory");
	else
		complain_at(r, p->error == YAML_READER_ERROR ? p->mark : p->problem_mark, "not YAML: %s%s%s",
			    p->problem ? p->problem : "cannot be read", p->context ? " " : "",
			    p->context ? p->context : "");
	return end_reading(r);
}

/* What makes YAML more than a file of settings: a few bytes that grow to gigabytes, and types of other languages. */
static void refuse_extras(struct reading *r)
{
	const yaml_event_t *e = &r->event;
	const yaml_char_t *anchor = NULL, *tag = NULL;

	if (e->type == YAML_SCALAR_EVENT) {
		anchor = e->data.scalar.anchor;
		tag = e->data.scalar.tag;
	} else if (e->type == YAML_MAPPING_START_EVENT) {
		anchor = e->data.mapping_start.anchor;
		tag = e->data.mapping_start.tag;
	} else if (e->type == YAML_SEQUENCE_START_EVENT) {
		anchor = e->data.sequence_start.anchor;
		tag = e->data.sequence_start.tag;
	}
	if (anchor)
		complain_at(r, e->start_mark, "anchors (&%.40s) are not allowed: write the value out",
			    anchor);
	if (tag)
		complain_at(r, e->start_mark, "tags (%.60s) are not allowed", tag);
}

static bool next(struct reading *r)
{
	if (r->ended)
		return false;
	yaml_event_delete(&r->event);
	if (!yaml_parser_parse(&r->parser, &r->event))
		return cannot_parse(r);
	refuse_extras(r);
	switch (r->event.type) {
	case YAML_MAPPING_START_EVENT:
	case YAML_SEQUENCE_START_EVENT:
		if (++r->depth <= CONFIG_DEPTH_MAX)
			return true;
		complain_at(r, r->event.start_mark, "nested too deeply");
		return end_reading(r);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT: r->depth--; return true;
	default: return true;
	}
}

/* The rest of the value that the last event began. */
static void skip(struct reading *r)
{
	if (r->event.type != YAML_MAPPING_START_EVENT && r->event.type != YAML_SEQUENCE_START_EVENT)
		return;
	for (unsigned outside = r->depth - 1; r->depth > outside && next(r);)
		;
}

static const char *scalar(const struct reading *r)
{
	return (const char *)r->event.data.scalar.value;
}

static bool is_plain(const struct reading *r)
{
	return r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_nothing(const struct reading *r)
{
	return r->event.type == YAML_SCALAR_EVENT && is_plain(r) &&
	       (!*scalar(r) || !strcmp(scalar(r), "~") || !strcmp(scalar(r), "null"));
}

static void complain_value(struct reading *r, const struct config_entry *e, const char *takes)
{
	if (e->hushed)
		complain_at(r, r->event.start_mark, "%s takes %s", e->key, takes);
	else
		complain_at(r, r->event.start_mark, "%s takes %s, not '%.80s'%s", e->key, takes, scalar(r),
			    is_plain(r) ? "" : " in quotes");
}

static void read_scalar(struct reading *r, const struct config_entry *e)
{
	char takes[CONFIG_TAKES];

	config_takes(e, takes);
	if (r->event.type == YAML_ALIAS_EVENT) {
		complain_at(r, r->event.start_mark, "aliases (*%.40s) are not allowed: write the value out",
			    r->event.data.alias.anchor);
	} else if (r->event.type != YAML_SCALAR_EVENT) {
		complain_at(r, r->event.start_mark, "%s takes %s, not a %s", e->key, takes,
			    r->event.type == YAML_MAPPING_START_EVENT ? "section" : "list");
		skip(r);
	} else if (is_nothing(r)) {
		complain_at(r, r->event.start_mark, "%s has no value: it takes %s", e->key, takes);
	} else if (strlen(scalar(r)) != r->event.data.scalar.length ||
		   (!is_plain(r) && (e->kind == CONFIG_NUMBER || e->kind == CONFIG_FLAG)) ||
		   config_set(e, r->base, scalar(r))) {
		complain_value(r, e, takes);
	}
}

static void read_list(struct reading *r, const struct config_entry *e)
{
	char takes[CONFIG_TAKES];

	if (r->event.type != YAML_SEQUENCE_START_EVENT && e->kind == CONFIG_WORDS) {
		config_clear(e, r->base);
		read_scalar(r, e);
		return;
	}
	if (r->event.type != YAML_SEQUENCE_START_EVENT) {
		complain_at(r, r->event.start_mark, "%s takes %s, each after a dash", e->key,
			    config_takes(e, takes));
		skip(r);
		return;
	}
	config_clear(e, r->base);
	while (next(r) && r->event.type != YAML_SEQUENCE_END_EVENT)
		read_scalar(r, e);
}

static void read_leaf(struct reading *r, size_t index)
{
	const struct config_entry *e = &r->entries[index];

	r->file->at[index] = (struct config_place) { (unsigned)r->event.start_mark.line + 1,
						     (unsigned)r->event.start_mark.column + 1 };
	if (e->kind == CONFIG_OTHERS)
		skip(r);
	else if (e->kind == CONFIG_ADDRS || e->kind == CONFIG_WORDS)
		read_list(r, e);
	else
		read_scalar(r, e);
}

enum match { MATCH_NONE, MATCH_LEAF, MATCH_SECTION };

/* What `key` of the mapping leads to, and the first entry that it does. */
static enum match find(const struct reading *r, const struct mapping *m, const char *key, size_t *index)
{
	size_t prefix = strlen(m->prefix), len = strlen(key);

	if (len == 0 || strchr(key, '.'))
		return MATCH_NONE;
	for (*index = 0; r->entries[*index].key; ++*index) {
		const char *name = r->entries[*index].key;
		if (strncmp(name, m->prefix, prefix) != 0 || strncmp(name + prefix, key, len) != 0)
			continue;
		if (!name[prefix + len] || name[prefix + len] == '.')
			return name[prefix + len] ? MATCH_SECTION : MATCH_LEAF;
	}
	return MATCH_NONE;
}

static bool is_listed(const char *list, const char *word, size_t len)
{
	for (const char *at = list; (at = strstr(at, word)); at++)
		if (!strncmp(at, word, len) && (at[len] == ',' || !at[len]) && (at == list || at[-1] == ' '))
			return true;
	return false;
}

/* "data, listen, certificate" */
static void name_keys(const struct reading *r, const struct mapping *m, char *out, size_t size)
{
	size_t prefix = strlen(m->prefix), at = 0;

	*out = 0;
	for (const struct config_entry *e = r->entries; e->key; e++) {
		char word[CONFIG_KEY_MAX];
		if (strncmp(e->key, m->prefix, prefix) != 0)
			continue;
		snprintf(word, sizeof word, "%s", e->key + prefix);
		word[strcspn(word, ".")] = 0;
		if (!is_listed(out, word, strlen(word)) && at < size)
			at += (size_t)snprintf(out + at, size - at, "%s%s", at ? ", " : "", word);
	}
}

static void unknown_key(struct reading *r, const struct mapping *m, yaml_mark_t mark)
{
	char known[256];

	name_keys(r, m, known, sizeof known);
	complain_at(r, mark, "unknown key '%s%.60s'; expected one of: %s", m->prefix, scalar(r), known);
}

static void read_mapping(struct reading *r, const char *section);

static void read_section(struct reading *r, const struct mapping *m, const char *key)
{
	char section[CONFIG_KEY_MAX];

	snprintf(section, sizeof section, "%s%.20s.", m->prefix, key);
	if (r->event.type == YAML_MAPPING_START_EVENT) {
		read_mapping(r, section);
	} else if (!is_nothing(r)) {
		complain_at(r, r->event.start_mark, "%.*s is a section: its keys are indented below it",
			    (int)strlen(section) - 1, section);
		skip(r);
	}
}

/* The last event is a key. */
static void read_pair(struct reading *r, struct mapping *m)
{
	char key[CONFIG_KEY_MAX];
	yaml_mark_t mark = r->event.start_mark;
	size_t index;

	if (r->event.type != YAML_SCALAR_EVENT) {
		complain_at(r, mark, "a key is expected here, a word with a colon behind it");
		skip(r);
		if (next(r))
			skip(r);
		return;
	}
	enum match match = find(r, m, scalar(r), &index);
	if (match == MATCH_NONE)
		unknown_key(r, m, mark);
	else if (m->line[index])
		complain_at(r, mark, "%s%.60s is given twice, first in line %u", m->prefix, scalar(r),
			    m->line[index]);
	bool wanted = match != MATCH_NONE && !m->line[index];
	snprintf(key, sizeof key, "%s", scalar(r));
	if (!next(r))
		return;
	if (!wanted) {
		skip(r);
		return;
	}
	m->line[index] = (unsigned)mark.line + 1;
	if (match == MATCH_LEAF)
		read_leaf(r, index);
	else
		read_section(r, m, key);
}

static void read_mapping(struct reading *r, const char *section)
{
	struct mapping m = { 0 };

	snprintf(m.prefix, sizeof m.prefix, "%s", section);
	while (next(r) && r->event.type != YAML_MAPPING_END_EVENT)
		read_pair(r, &m);
}

/* The last event begins the document's one value. */
static void read_root(struct reading *r)
{
	if (r->event.type == YAML_MAPPING_START_EVENT) {
		read_mapping(r, "");
	} else if (!is_nothing(r)) {
		complain_at(r, r->event.start_mark, "settings are expected here, each as KEY: VALUE");
		skip(r);
	}
}

static void read_stream(struct reading *r)
{
	bool first = true;

	while (next(r) && r->event.type != YAML_STREAM_END_EVENT) {
		if (r->event.type != YAML_DOCUMENT_START_EVENT)
			continue;
		if (!first) {
			complain_at(r, r->event.start_mark, "a second document is not allowed");
			return;
		}
		first = false;
		if (next(r))
			read_root(r);
	}
}

int config_parse(struct config_file *f, const struct config_entry *entries, void *base, const char *path,
		 const char *text, size_t len)
{
	struct reading r = { .file = f, .entries = entries, .base = base };

	*f = (struct config_file) { .path = path };
	if (len > CONFIG_FILE_MAX) {
		config_complain(f, entries, "", "larger than %d bytes: no file of settings", CONFIG_FILE_MAX);
		return -EBADMSG;
	}
	if (!yaml_parser_initialize(&r.parser)) {
		config_complain(f, entries, "", "out of memory");
		return -ENOMEM;
	}
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
	read_stream(&r);
	yaml_event_delete(&r.event);
	yaml_parser_delete(&r.parser);
	return f->errors ? -EBADMSG : 0;
}

/* The length, or a negative errno. One byte more than allowed is enough to see that it is too long. */
static ssize_t read_whole(const char *path, char *out, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (n > 0 && len < cap) {
		n = read(fd, out + len, cap - len);
		len += n > 0 ? (size_t)n : 0;
	}
	int error = errno;
	close(fd);
	return n < 0 ? -error : (ssize_t)len;
}

int config_read(struct config_file *f, const struct config_entry *entries, void *base, const char *path)
{
	char *text = malloc(CONFIG_FILE_MAX + 1);
	ssize_t len = text ? read_whole(path, text, CONFIG_FILE_MAX + 1) : -ENOMEM;
	int rc = (int)len;

	if (len < 0) {
		*f = (struct config_file) { .path = path };
		config_complain(f, entries, "", "cannot be read: %s", strerror(-rc));
	} else {
		rc = config_parse(f, entries, base, path, text, (size_t)len);
	}
	free(text);
	return rc;
}
