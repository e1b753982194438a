/* The floor of what forwarding between two taps costs: read one, write the other, nothing else.
 * Usage: relay FD FD, both non-blocking. What the other side does not take is lost. */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum { BURST_FRAMES = 64, FRAME_MAX = 69632 + 10 };

int main(int argc, char **argv)
{
    static char frame[FRAME_MAX];
    struct pollfd taps[2];

    if (argc != 3)
        return 2;
    for (int i = 0; i < 2; i++)
        taps[i] = (struct pollfd){ .fd = atoi(argv[1 + i]), .events = POLLIN };
    while (poll(taps, 2, -1) > 0) {
        for (int i = 0; i < 2; i++) {
            if (!taps[i].revents)
                continue;
            for (int k = 0; k < BURST_FRAMES; k++) {
                ssize_t size = read(taps[i].fd, frame, sizeof frame);
                if (size <= 0)
                    break;
                if (write(taps[1 - i].fd, frame, size) < 0)
                    continue;
            }
        }
    }
    return 1;
}
