/* Send UDP datagrams as fast as one core can, 64 to a system call.
 * Usage: flood ADDRESS PAYLOAD_BYTES SECONDS. 22 bytes of payload make a frame of 64. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, DISCARD = 9 /* RFC 863 */, PAYLOAD_MAX = 65507 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    static char payload[PAYLOAD_MAX];
    struct sockaddr_in target = { .sin_family = AF_INET, .sin_port = htons(DISCARD) };
    struct iovec io = { .iov_base = payload };
    struct mmsghdr batch[BATCH] = { 0 };
    int udp = socket(AF_INET, SOCK_DGRAM, 0);

    if (argc != 4 || !inet_aton(argv[1], &target.sin_addr))
        return 2;
    if (connect(udp, (struct sockaddr *)&target, sizeof target)) {
        perror("connect");
        return 1;
    }
    io.iov_len = atoi(argv[2]);
    for (int i = 0; i < BATCH; i++) {
        batch[i].msg_hdr.msg_iov = &io;
        batch[i].msg_hdr.msg_iovlen = 1;
    }
    /* Errors are the discard port's "unreachable" and full queues: the receiver's counters are what is measured. */
    for (double end = now() + atof(argv[3]); now() < end;)
        sendmmsg(udp, batch, BATCH, 0);
    return 0;
}
