"""Traffic of the kernel's own stacks: ICMP echo, UDP echo, and one TCP stream whose bytes Python never touches."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from etherloom.net.offload.checksum import checksum, word_sum
from examples.demo.outcome import Echoes, Pings, Stream

__all__ = ["ECHO_REPLY", "UDP_DATA", "UDP_ECHO_PORT", "UDP_WINDOW", "TcpStream", "echo_request", "ping", "udp_echo"]

ECHO_REQUEST, ECHO_REPLY = 8, 0  # RFC 792
ICMP_HEADER = struct.Struct("!BBHHH")
IPV4_HEADER_BYTES = 20  # of what a raw socket returns; nobody here sends options
ECHO_DATA = bytes(56)  # what ping sends
LOST_S = 0.2  # an answer that takes longer has been lost
DEAD_AFTER = 10  # as many lost in a row say that nobody is there

UDP_ECHO_PORT = 7  # RFC 862
UDP_WINDOW = 32  # datagrams under way: some make a burst, and half of an RTL8139's ring has place for them
UDP_LOST_S = 0.2
UDP_DATA = struct.Struct("!Q10x")  # a number, and as many bytes as fill the shortest frame

CHUNK_BYTES = 1 << 20


def echo_request(ident: int, sequence: int) -> bytes:
    """An ICMP echo request, from its header on."""
    header = ICMP_HEADER.pack(ECHO_REQUEST, 0, 0, ident, sequence & 0xFFFF)
    total = checksum(word_sum(header + ECHO_DATA))
    return ICMP_HEADER.pack(ECHO_REQUEST, 0, total, ident, sequence & 0xFFFF) + ECHO_DATA


def ping(icmp: socket.socket, target: str, count: int, every_s: float, progress: Callable[[int], None]) -> Pings:
    """Send echo requests at a fixed pace and wait for each answer; give up when some in a row got none.

    Args:
        icmp: A raw ICMP socket.
        target: An IPv4 address.
        count: How many.
        every_s: The pace.
        progress: Told after each how many are done.
    """
    ident = os.getpid() & 0xFFFF
    round_trips: list[float] = []
    lost_in_a_row = 0
    due = time.perf_counter()
    for sequence in range(count):
        time.sleep(max(0.0, due - time.perf_counter()))
        due = max(due + every_s, time.perf_counter())
        start = time.perf_counter()
        icmp.sendto(echo_request(ident, sequence), (target, 0))
        if _answered(icmp, ident, sequence, start + max(every_s, LOST_S)):
            round_trips.append((time.perf_counter() - start) * 1e6)
            lost_in_a_row = 0
        else:
            lost_in_a_row += 1
        progress(sequence + 1)
        if lost_in_a_row == DEAD_AFTER:
            break
    return Pings(sequence + 1, round_trips)


def udp_echo(udp: socket.socket, seconds: float) -> Echoes:
    """Keep datagrams under way to an echo server, one for each that comes back.

    Args:
        udp: Connected to the server.
        seconds: How long; some more for the last to come back.
    """
    udp.settimeout(UDP_LOST_S)
    sent = answered = 0
    waiting: set[bytes] = set()
    begin = now = time.perf_counter()
    while True:
        while len(waiting) < UDP_WINDOW and now < begin + seconds:
            datagram = UDP_DATA.pack(sent)
            udp.send(datagram)
            waiting.add(datagram)
            sent += 1
        if not waiting:
            return Echoes(sent, answered, now - begin)
        try:
            datagram = udp.recv(2048)
        except TimeoutError:
            waiting.clear()
        else:
            answered += datagram in waiting
            waiting.discard(datagram)
        now = time.perf_counter()


class TcpStream:
    """One TCP stream as fast as it goes, from `with` to the end of its block.

    Each end is a connected socket, which the stream closes, or None if somebody else has it.

    Attributes:
        result: What has arrived, once the block is over.
    """

    result: Stream

    def __init__(self, *, sender: socket.socket | None = None, receiver: socket.socket | None = None) -> None:
        self._sender, self._receiver = sender, receiver
        self._ends = [end for end in (sender, receiver) if end is not None]
        self._sent = self._received = 0
        self._stopping = False
        self._begin = 0.0
        self._threads = []
        if receiver is not None:
            self._threads.append(threading.Thread(target=self._receive, args=[receiver], daemon=True))
        if sender is not None:
            self._threads.append(threading.Thread(target=self._send, args=[sender], daemon=True))

    def __enter__(self) -> TcpStream:
        self._begin = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.result = Stream(self._arrived(), time.perf_counter() - self._begin)
        self._stopping = True
        for end in self._ends:
            with suppress(OSError):  # the other end was faster
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(2)
        for end in self._ends:
            end.close()

    def _arrived(self) -> int:
        if self._receiver is not None or self._sender is None:
            return self._received
        waiting = fcntl.ioctl(self._sender, termios.TIOCOUTQ, bytes(4))  # not acknowledged yet: tcp(7), SIOCOUTQ
        return self._sent - int.from_bytes(waiting, sys.byteorder)

    def _send(self, sender: socket.socket) -> None:
        file = os.memfd_create("stream")
        os.ftruncate(file, CHUNK_BYTES)
        try:
            while not self._stopping:
                self._sent += os.sendfile(sender.fileno(), file, 0, CHUNK_BYTES)
        except OSError:
            pass  # shut down by __exit__
        finally:
            os.close(file)

    def _receive(self, receiver: socket.socket) -> None:
        ignored = bytearray(CHUNK_BYTES)
        try:
            # MSG_TRUNC: the kernel counts and throws away (tcp(7)), so no copy limits the stream.
            while not self._stopping and (count := receiver.recv_into(ignored, 0, socket.MSG_TRUNC)):
                self._received += count
        except OSError:
            pass  # the connection was reset when the stream ended


def _answered(icmp: socket.socket, ident: int, sequence: int, deadline: float) -> bool:
    while (left := deadline - time.perf_counter()) > 0 and select.select([icmp], [], [], left)[0]:
        packet = icmp.recv(2048)
        kind, _, _, its_ident, its_sequence = ICMP_HEADER.unpack_from(packet, IPV4_HEADER_BYTES)
        if (kind, its_ident, its_sequence) == (ECHO_REPLY, ident, sequence & 0xFFFF):
            return True
    return False
