/* Messages for the person who runs the program: one line each on stderr, `level module: text`.
 * From any thread: each line is written by one system call.
 * What an unauthenticated sender can trigger is logged through log_limited and counted by its owner, nothing else. */
#ifndef P2PD_CORE_LOG_H
#define P2PD_CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LVL_ERROR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

/* Lines above `level` are dropped. The default is LOG_LVL_INFO. */
void log_set_level(enum log_level level);
/* "error", "warn", "info", "debug"; -EINVAL for anything else. */
int log_set_level_by_name(const char *name);
bool log_enabled(enum log_level level);

__attribute__((format(printf, 3, 4))) void log_write(enum log_level level, const char *module,
						     const char *fmt, ...);
/* At most one debug line per second of `now_ms` for all callers that share `*last_ms`, which are of one thread. */
__attribute__((format(printf, 4, 5))) void log_limited(uint64_t *last_ms, uint64_t now_ms, const char *module,
						       const char *fmt, ...);

#define log_error(module, ...) log_write(LOG_LVL_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...)  log_write(LOG_LVL_WARN, module, __VA_ARGS__)
#define log_info(module, ...)  log_write(LOG_LVL_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) log_write(LOG_LVL_DEBUG, module, __VA_ARGS__)

#endif
