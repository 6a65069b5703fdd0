/* `p2pd up` as a person runs it: the command returns when the node has joined, the node stays as a daemon; and when it
 * could not join, its line and its exit code are the command's. */
#ifndef P2PD_APPS_P2PD_DAEMONIZE_H
#define P2PD_APPS_P2PD_DAEMONIZE_H

struct daemonize {
	int waiting; /* the person's command waits at the other end of this pipe */
	int console; /* the terminal's stderr */
};

/* Forks. Returns 0 in the child only, whose stderr (the log) goes to `log_path`, or nowhere; what fail_with() says still goes
 * to the person. The parent ends with the process. An exit code when it could not be done. */
int daemonize_start(struct daemonize *d, const char *log_path);
/* In the child: tells the person `text`, lets the command return, and cuts the last ties to the terminal. */
void daemonize_release(struct daemonize *d, const char *text);

#endif
