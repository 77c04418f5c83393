/* The floor: two processes, a socketpair, and the copy that every transport makes. floor SIZE COUNT prints µs a round trip. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void whole(ssize_t (*act)(int, void *, size_t), int fd, char *octets, size_t size) {
    for (size_t done = 0; done < size;) {
        ssize_t now = act(fd, octets + done, size - done);
        if (now <= 0) exit(1);
        done += now;
    }
}
static ssize_t put(int fd, void *octets, size_t size) { return write(fd, octets, size); }

int main(int count, char **words) {
    if (count != 3) return fprintf(stderr, "floor SIZE COUNT\n"), 2;
    size_t size = strtoul(words[1], NULL, 10), trips = strtoul(words[2], NULL, 10);
    char *octets = calloc(1, size);
    int ends[2];
    if (!octets || socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return perror("floor"), 2;
    pid_t other = fork();
    for (int end = 0; end < 2; end++) setsockopt(ends[end], SOL_SOCKET, SO_SNDBUF, &(int){4 << 20}, sizeof(int));
    if (other == 0) {
        for (size_t at = 0; at < trips; at++) {
            whole(read, ends[1], octets, size);
            whole(put, ends[1], octets, size);
        }
        return 0;
    }
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (size_t at = 0; at < trips; at++) {
        whole(put, ends[0], octets, size);
        whole(read, ends[0], octets, size);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    waitpid(other, NULL, 0);
    printf("%.3f\n", ((end.tv_sec - begin.tv_sec) * 1e6 + (end.tv_nsec - begin.tv_nsec) / 1e3) / trips);
    return 0;
}
