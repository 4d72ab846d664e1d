// The constraint keeps the go command from taking this file for cgo: the program
// embeds it and builds it with gcc at run time.
//go:build ignore

// The floor of the comparison: an epoll echo without WebSocket, in C. It writes
// back every byte it reads, one read and one write per event, on one thread.
// The port it listens on is printed on the first line; it ends when killed.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, BUFFER = 64 * 1024 };

static char buffer[BUFFER];

static void die(const char *what) {
	perror(what);
	exit(1);
}

static int listen_on_loopback(void) {
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 4096))
		die("floor: listen");
	if (getsockname(fd, (struct sockaddr *)&addr, &size))
		die("floor: getsockname");
	printf("%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	return fd;
}

static void accept_all(int epoll, int listener) {
	int one = 1, fd;
	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
			die("floor: epoll_ctl");
	}
	if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		die("floor: accept");
}

// A client of the comparison always reads what it is owed: the socket's buffer
// holds any answer.
static void echo(int fd) {
	ssize_t n = read(fd, buffer, BUFFER);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close(fd);
		return;
	}
	if (write(fd, buffer, n) != n)
		close(fd);
}

int main(void) {
	static struct epoll_event events[EVENTS];
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	int epoll = epoll_create1(0);
	if (epoll < 0)
		die("floor: epoll_create1");
	int listener = listen_on_loopback();
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event))
		die("floor: epoll_ctl");
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, -1);
		if (n < 0 && errno != EINTR)
			die("floor: epoll_wait");
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				accept_all(epoll, listener);
			else
				echo(events[i].data.fd);
		}
	}
}
