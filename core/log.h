/* Messages for the person who runs the program: one line each on stderr, `level module: text` or a JSON object.
 * From any thread: each line is written by one system call.
 * What an unauthenticated sender can trigger is logged through log_limited and counted by its owner, nothing else. */
#ifndef P2PD_CORE_LOG_H
#define P2PD_CORE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };
enum log_format {
	LOG_PLAIN, /* the default: for a command that a person waits for */
	LOG_TEXT,  /* with the time in front, unless stderr is the journal's, which has its own */
	LOG_JSON,  /* {"time": RFC 3339, UTC, "level", "module", "message"} */
};
enum {
	LOG_MODULES = 16, /* that may have a level of their own */
	LOG_MODULE_NAME = 16,
	LOG_MESSAGE_MAX = 1024,			 /* bytes; more is cut off */
	LOG_LINE_MAX = LOG_MESSAGE_MAX * 6 + 160 /* with each byte escaped */
};
/* For --help. */
#define LOG_LEVELS_HELP "error, warn, info or debug, and for single modules: info,path=debug"

/* Lines above `level` are dropped, of all modules. The default is LOG_LVL_INFO. */
void log_set_level(enum log_level level);
/* "LEVEL" or "MODULE=LEVEL", several with commas between them, as "info,path=debug,hub=warn": the last word on a module
 * counts, and what is not said is "info". -EINVAL for anything else, and nothing is changed. */
int log_set_levels(const char *text);
/* Whether log_set_levels() would take it. */
bool log_levels_fit(const char *text);
/* "text", "json"; -EINVAL for anything else. */
int log_set_format_by_name(const char *name);
void log_set_format(enum log_format format);
bool log_enabled(const char *module, enum log_level level);

__attribute__((format(printf, 3, 4))) void log_write(enum log_level level, const char *module,
						     const char *fmt, ...);
/* At most one debug line per second of `now_ms` for all callers that share `*last_ms`, which are of one thread. */
__attribute__((format(printf, 4, 5))) void log_limited(uint64_t *last_ms, uint64_t now_ms, const char *module,
						       const char *fmt, ...);

/* What log_write writes, line feed included. `unix_ms` is the wall clock; for LOG_TEXT 0 leaves it out. Pure. Control
 * characters and bytes that are no UTF-8 could come from a peer and must neither reach a terminal nor break JSON. Returns
 * the length. */
size_t log_format_line(char out[static LOG_LINE_MAX], enum log_format format, uint64_t unix_ms,
		       enum log_level level, const char *module, const char *message);

#define log_error(module, ...) log_write(LOG_LVL_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...)  log_write(LOG_LVL_WARN, module, __VA_ARGS__)
#define log_info(module, ...)  log_write(LOG_LVL_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) log_write(LOG_LVL_DEBUG, module, __VA_ARGS__)

#endif
