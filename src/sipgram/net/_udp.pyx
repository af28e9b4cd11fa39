# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
# cython: cdivision=True, binding=False, always_allow_keywords=False
"""Datagrams in and out by recvmmsg and sendmmsg, up to 32 a system call (Linux).

The listener around it is ``udp_batch.py``. The buffers are made once per socket; what goes out
is sent from the caller's bytes without a copy. It is used by one thread: the GIL is let go of
around the system calls only for the sake of others that read files or talk to databases.
"""

from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.errno cimport EAGAIN, EINTR, EMSGSIZE, errno
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        unsigned int msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
    struct cmsghdr:
        int cmsg_level
        int cmsg_type
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int AF_INET
    int AF_INET6
    int MSG_DONTWAIT
    int MSG_ERRQUEUE
    cmsghdr* CMSG_FIRSTHDR(msghdr* message)
    cmsghdr* CMSG_NXTHDR(msghdr* message, cmsghdr* header)
    void* CMSG_DATA(cmsghdr* header)
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, void* timeout)
    int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags)

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        unsigned int s_addr
    struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr
    struct in6_addr:
        unsigned char s6_addr[16]
    struct sockaddr_in6:
        unsigned short sin6_family
        unsigned short sin6_port
        in6_addr sin6_addr
        unsigned int sin6_scope_id

cdef extern from "<linux/errqueue.h>" nogil:
    struct sock_extended_err:
        unsigned int ee_errno
        unsigned char ee_origin
        unsigned char ee_type
    int SO_EE_ORIGIN_ICMP
    int SO_EE_ORIGIN_ICMP6

cdef extern from "<netinet/in.h>" nogil:
    int IPPROTO_IP
    int IPPROTO_IPV6
    int IP_RECVERR
    int IPV6_RECVERR

cdef enum:
    BATCH = 32
    CONTROL_BYTES = 256
    DATAGRAM_MAX = 65535
    KEEP_ALIVE_MAX = 4
    KEY_V4 = 6
    KEY_V6 = 22

cdef union Peer:
    sockaddr_in v4
    sockaddr_in6 v6


cdef class UdpSender:
    """One remote address of one socket; ``send`` is what a flow calls."""

    cdef UdpBatch batch
    cdef Peer peer
    cdef unsigned int peer_size

    def send(self, bytes data not None):
        self.batch.put(self, data)
        return True


cdef class UdpBatch:
    """One UDP socket's batches; the socket stays its owner's."""

    cdef int fd
    cdef bint is_v6
    cdef bint is_pumping
    cdef bint is_woken
    cdef int got
    cdef int next
    cdef int count
    cdef Py_ssize_t queue_max
    cdef char* area
    cdef object receive
    cdef object new_flow
    cdef object wake
    cdef object queue
    cdef readonly Py_ssize_t dropped
    "Datagrams not sent: the queue was full, or the system refused them twice."
    cdef public bint failed
    "Whether a system call told of an error; its reader sets it back."
    cdef mmsghdr incoming[BATCH]
    cdef iovec incoming_area[BATCH]
    cdef Peer incoming_peer[BATCH]
    cdef mmsghdr outgoing[BATCH]
    cdef iovec outgoing_area[BATCH]
    # What stands in ``outgoing``, kept alive until it was sent.
    cdef PyObject* senders[BATCH]
    cdef PyObject* datagrams[BATCH]

    def __cinit__(self):
        self.fd = -1
        self.area = NULL

    def __init__(
        self, int fd, *, bint is_v6, object receive, object new_flow, object wake,
        Py_ssize_t queue_max,
    ):
        cdef int i
        self.area = <char*> malloc(BATCH * DATAGRAM_MAX)
        if self.area == NULL:
            raise MemoryError
        self.fd = fd
        self.is_v6 = is_v6
        self.receive = receive
        self.new_flow = new_flow
        self.wake = wake
        self.queue_max = queue_max
        self.queue = deque()
        for i in range(BATCH):
            self.incoming_area[i].iov_base = self.area + i * DATAGRAM_MAX
            self.incoming_area[i].iov_len = DATAGRAM_MAX
            self.incoming[i].msg_hdr.msg_iov = &self.incoming_area[i]
            self.incoming[i].msg_hdr.msg_iovlen = 1
            self.incoming[i].msg_hdr.msg_name = &self.incoming_peer[i]
            self.outgoing[i].msg_hdr.msg_iov = &self.outgoing_area[i]
            self.outgoing[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        self.forget(self.count)
        free(self.area)

    @property
    def pending(self):
        """How many datagrams were received but not handed over, because ``receive`` raised."""
        return self.got - self.next

    @property
    def queued(self):
        """How many datagrams wait for room in the socket's buffer."""
        return len(self.queue)

    def sender(self, bytes key not None):
        """Return the way to an address: port and IPv4 address, or port, IPv6 address and scope.

        The empty key is the peer of a connected socket.
        """
        cdef UdpSender sender = UdpSender.__new__(UdpSender)
        cdef const char* text = PyBytes_AS_STRING(key)
        sender.batch = self
        memset(&sender.peer, 0, sizeof(Peer))
        sender.peer_size = 0
        if not key:
            return sender
        if PyBytes_GET_SIZE(key) != (KEY_V6 if self.is_v6 else KEY_V4):
            raise ValueError(f"key is not one of this socket: {key!r}")
        if self.is_v6:
            sender.peer.v6.sin6_family = AF_INET6
            memcpy(&sender.peer.v6.sin6_port, text, 2)
            memcpy(&sender.peer.v6.sin6_addr, text + 2, 16)
            memcpy(&sender.peer.v6.sin6_scope_id, text + 18, 4)
            sender.peer_size = sizeof(sockaddr_in6)
        else:
            sender.peer.v4.sin_family = AF_INET
            memcpy(&sender.peer.v4.sin_port, text, 2)
            memcpy(&sender.peer.v4.sin_addr, text + 2, 4)
            sender.peer_size = sizeof(sockaddr_in)
        return sender

    def pump(self, dict flows not None, object now, int batches):
        """Receive up to so many batches, hand each datagram over, and send what that gave.

        Returns how many datagrams came. When ``receive`` raises, the rest of the batch is kept
        for the next call.
        """
        cdef int total = 0
        self.is_pumping = True
        try:
            while True:
                self.hand_over(flows, now)
                if self.fd < 0 or batches == 0 or (total and self.got < BATCH):
                    break
                batches -= 1
                self.got = self.next = 0
                self.got = self.read_batch(0)
                if self.got == 0:
                    break
                total += self.got
        finally:
            self.is_pumping = False
            self.flush()
        return total

    def flush(self):
        """Send what waits in the batch; what the socket does not take is queued."""
        cdef int done, i
        cdef int count = self.count
        self.is_woken = False
        if count == 0 or self.fd < 0:
            return
        done = self.send_batch(count)
        for i in range(done, count):
            self.enqueue(<UdpSender> self.senders[i], <bytes> self.datagrams[i])
        self.forget(count)

    def drain(self):
        """Send what is queued, now that the socket takes datagrams again."""
        cdef int done, i
        cdef int count
        cdef UdpSender sender
        cdef bytes data
        while self.queue and self.fd >= 0:
            count = 0
            while count < BATCH and count < <Py_ssize_t> len(self.queue):
                sender, data = self.queue[count]
                self.fill(sender, data)
                count += 1
            done = self.send_batch(count)
            self.forget(count)
            for i in range(done):
                self.queue.popleft()
            if done < count:
                return

    def refusals(self, int batches):
        """Return the keys of peers that ICMP says cannot be reached, from up to so many batches.

        The error queue shares the receive buffer with the datagrams: left full, it would keep
        them out.
        """
        cdef char control[BATCH][CONTROL_BYTES]
        cdef set keys = set()
        cdef int got = BATCH
        cdef int i
        if self.next < self.got:
            return keys  # The areas still hold datagrams.
        for i in range(BATCH):
            self.incoming[i].msg_hdr.msg_control = control[i]
        while batches and got == BATCH and self.fd >= 0:
            batches -= 1
            for i in range(BATCH):
                self.incoming[i].msg_hdr.msg_controllen = CONTROL_BYTES
            got = self.read_batch(MSG_ERRQUEUE)
            for i in range(got):
                if is_unreachable(&self.incoming[i].msg_hdr):
                    keys.add(self.key_of(&self.incoming_peer[i]))
        for i in range(BATCH):
            self.incoming[i].msg_hdr.msg_control = NULL
            self.incoming[i].msg_hdr.msg_controllen = 0
        return keys

    def close(self):
        """Send what can be sent at once, and use the socket no more."""
        self.flush()
        self.fd = -1
        self.got = self.next = 0
        self.queue.clear()
        # These lead back to the listener.
        self.receive = self.new_flow = self.wake = None

    cdef int hand_over(self, dict flows, object now) except -1:
        cdef int i
        cdef bytes key, data
        cdef object flow
        while self.next < self.got:
            i = self.next
            self.next += 1
            if self.incoming[i].msg_len <= KEEP_ALIVE_MAX:
                continue
            key = self.key_of(&self.incoming_peer[i])
            data = PyBytes_FromStringAndSize(
                self.area + i * DATAGRAM_MAX, self.incoming[i].msg_len
            )
            flow = flows.get(key)
            if flow is None:
                flow = self.new_flow(key)
            self.receive(data, flow, now)
        return 0

    cdef bytes key_of(self, Peer* peer):
        cdef char text[KEY_V6]
        if not self.is_v6:
            # Port and address stand side by side.
            return PyBytes_FromStringAndSize(<char*> &peer.v4.sin_port, KEY_V4)
        memcpy(text, &peer.v6.sin6_port, 2)
        memcpy(text + 2, &peer.v6.sin6_addr, 16)
        memcpy(text + 18, &peer.v6.sin6_scope_id, 4)
        return PyBytes_FromStringAndSize(text, KEY_V6)

    cdef int read_batch(self, int flags) except -1:
        """Return how many datagrams came; an error that an ICMP message left costs a try."""
        cdef int tries, got, error, i
        for tries in range(BATCH):
            for i in range(BATCH):
                self.incoming[i].msg_hdr.msg_namelen = sizeof(Peer)
            with nogil:
                got = recvmmsg(self.fd, self.incoming, BATCH, MSG_DONTWAIT | flags, NULL)
                error = errno
            if got >= 0:
                return got
            if error == EAGAIN:
                return 0
            if error != EINTR:
                self.failed = True
        return 0

    cdef int put(self, UdpSender sender, bytes data) except -1:
        if self.fd < 0:
            return 0
        if self.queue:
            self.enqueue(sender, data)
            return 0
        self.fill(sender, data)
        if self.count == BATCH:
            self.flush()
        elif not self.is_pumping and not self.is_woken:
            self.is_woken = True
            self.wake()
        return 0

    cdef void fill(self, UdpSender sender, bytes data):
        cdef int i = self.count
        self.outgoing_area[i].iov_base = PyBytes_AS_STRING(data)
        self.outgoing_area[i].iov_len = PyBytes_GET_SIZE(data)
        self.outgoing[i].msg_hdr.msg_name = &sender.peer
        self.outgoing[i].msg_hdr.msg_namelen = sender.peer_size
        Py_INCREF(sender)
        Py_INCREF(data)
        self.senders[i] = <PyObject*> sender
        self.datagrams[i] = <PyObject*> data
        self.count = i + 1

    cdef void forget(self, int count):
        cdef int i
        self.count = 0
        for i in range(count):
            Py_DECREF(<object> self.senders[i])
            Py_DECREF(<object> self.datagrams[i])

    cdef int enqueue(self, UdpSender sender, bytes data) except -1:
        if len(self.queue) < self.queue_max:
            self.queue.append((sender, data))
        else:
            self.dropped += 1
        return 0

    cdef int send_batch(self, int count) except -1:
        """Return how many need no second try: sent, or refused twice.

        An error may be that of an earlier datagram, brought by ICMP, so that a refused one is
        tried once more.
        """
        cdef int done = 0
        cdef int retried = -1
        cdef int sent, error
        while done < count:
            with nogil:
                sent = sendmmsg(self.fd, &self.outgoing[done], count - done, MSG_DONTWAIT)
                error = errno
            if sent > 0:
                done += sent
            elif error == EAGAIN:
                break
            elif error != EINTR:
                self.failed = True
                if retried == done:
                    self.dropped += 1
                    done += 1
                else:
                    retried = done
        return done


cdef bint is_unreachable(msghdr* message) noexcept:
    """Say whether ICMP tells of what RFC 3261 §18.4 wants to be told."""
    cdef cmsghdr* header = CMSG_FIRSTHDR(message)
    cdef sock_extended_err* error
    while header != NULL:
        error = <sock_extended_err*> CMSG_DATA(header)
        if header.cmsg_level == IPPROTO_IP and header.cmsg_type == IP_RECVERR:
            # Destination unreachable, parameter problem; the packet's size is another matter.
            return (
                error.ee_origin == SO_EE_ORIGIN_ICMP
                and (error.ee_type == 3 or error.ee_type == 12)
                and error.ee_errno != EMSGSIZE
            )
        if header.cmsg_level == IPPROTO_IPV6 and header.cmsg_type == IPV6_RECVERR:
            return error.ee_origin == SO_EE_ORIGIN_ICMP6 and (
                error.ee_type == 1 or error.ee_type == 4
            )
        header = CMSG_NXTHDR(message, header)
    return False
