/* A model server that costs next to nothing, to measure what stands in front of it.

   cc -O2 -o fake_upstream fake_upstream.c && ./fake_upstream PORT

   HTTP/1.1 with keep-alive on 127.0.0.1, whatever the path. POST: a chat completion of about 1.1 KB, or, when the body
   says "stream": true, 50 chunks as server-sent events, each its own write, back to back, and one with the usage when
   the body asks for it. GET /served: how many POSTs were answered. Any other GET: the list of models. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNKS 50
#define MAX_REQUEST (4 << 20)
#define MAX_SOCKETS 65536
#define PATIENCE_MS 10000

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s"
#define STREAM_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n" \
                    "Transfer-Encoding: chunked\r\n\r\n"
#define USAGE "{\"prompt_tokens\":420,\"completion_tokens\":%d,\"total_tokens\":%d}"
#define EVENT "{\"id\":\"chatcmpl-fake\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\"model\":\"gpt-4o\"," \
              "\"system_fingerprint\":\"fp_fake\",\"choices\":[%s],\"usage\":%s}"
#define CHOICE "{\"index\":0,\"delta\":{%s},\"logprobs\":null,\"finish_reason\":%s}"

struct text { char *bytes; size_t size; };
struct connection { char *bytes; size_t size, room; };

static struct connection *connections[MAX_SOCKETS];
static struct text answer, models, refusal, events[CHUNKS], usage_event, done_event, stream_head;
static unsigned long long served;

static struct text text(const char *content) {
    struct text made = {strdup(content), strlen(content)};
    return made;
}

static struct text with_length(const char *kind, const char *body) {
    char page[8192];
    snprintf(page, sizeof page, HEAD, kind, strlen(body), body);
    return text(page);
}

static struct text chunk(const char *data, const char *behind) {
    char framed[4096], event[2048];
    snprintf(event, sizeof event, "data: %s\n\n", data);
    snprintf(framed, sizeof framed, "%zx\r\n%s\r\n%s", strlen(event), event, behind);
    return text(framed);
}

static void prepare_answer(void) {
    char content[1024] = "", body[4096], usage[128];
    while (strlen(content) < 720)
        strcat(content, "Annual leave is 15 days; it grows by one day a year. ");
    snprintf(usage, sizeof usage, USAGE, 180, 600);
    snprintf(body, sizeof body,
             "{\"id\":\"chatcmpl-fake\",\"object\":\"chat.completion\",\"created\":1790000000,\"model\":\"gpt-4o\","
             "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null},"
             "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":%s,\"system_fingerprint\":\"fp_fake\"}",
             content, usage);
    answer = with_length("application/json", body);
}

static void prepare_events(void) {
    char choice[512], event[1024], delta[128], usage[128];
    for (int n = 0; n < CHUNKS; n++) {
        if (n == 0)
            snprintf(delta, sizeof delta, "\"role\":\"assistant\",\"content\":\"\"");
        else if (n == CHUNKS - 1)
            delta[0] = 0;
        else
            snprintf(delta, sizeof delta, "\"content\":\"word%d \"", n);
        snprintf(choice, sizeof choice, CHOICE, delta, n == CHUNKS - 1 ? "\"stop\"" : "null");
        snprintf(event, sizeof event, EVENT, choice, "null");
        events[n] = chunk(event, "");
    }
    snprintf(usage, sizeof usage, USAGE, CHUNKS - 2, 420 + CHUNKS - 2);
    snprintf(event, sizeof event, EVENT, "", usage);
    usage_event = chunk(event, "");
    done_event = chunk("[DONE]", "0\r\n\r\n");
    stream_head = text(STREAM_HEAD);
}

/* Whether the object member `name` (with its quotes) is followed by `: true`. */
static bool is_true(const char *body, size_t size, const char *name) {
    const char *end = body + size, *at = memmem(body, size, name, strlen(name));
    if (!at)
        return false;
    for (at += strlen(name); at < end && (*at == ' ' || *at == ':'); at++)
        ;
    return end - at >= 4 && !memcmp(at, "true", 4);
}

static bool put(int fd, struct text what) {
    while (what.size) {
        ssize_t sent = send(fd, what.bytes, what.size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd writable = {fd, POLLOUT, 0};
            if (poll(&writable, 1, PATIENCE_MS) <= 0)
                return false;
            continue;
        }
        if (sent <= 0)
            return false;
        what.bytes += sent, what.size -= sent;
    }
    return true;
}

static bool put_stream(int fd, bool with_usage) {
    if (!put(fd, stream_head))
        return false;
    for (int n = 0; n < CHUNKS; n++)
        if (!put(fd, events[n]))
            return false;
    return (!with_usage || put(fd, usage_event)) && put(fd, done_event);
}

static bool put_count(int fd) {
    char body[32];
    snprintf(body, sizeof body, "%llu", served);
    struct text page = with_length("text/plain", body);
    bool sent = put(fd, page);
    free(page.bytes);
    return sent;
}

static bool respond(int fd, const char *request, const char *body, size_t size) {
    if (!memcmp(request, "GET /served ", 12))
        return put_count(fd);
    if (!memcmp(request, "GET ", 4))
        return put(fd, models);
    served++;
    if (is_true(body, size, "\"stream\""))
        return put_stream(fd, is_true(body, size, "\"include_usage\""));
    return put(fd, answer);
}

/* Bytes that the request at the front takes, 0 while it is not whole, -1 when it cannot be read. */
static ssize_t whole(const char *bytes, size_t size, size_t *head) {
    const char *end = memmem(bytes, size, "\r\n\r\n", 4), *line = bytes;
    if (!end)
        return 0;
    *head = end - bytes + 4;
    size_t length = 0;
    while ((line = memmem(line, end - line, "\r\n", 2))) {
        line += 2;
        if (!strncasecmp(line, "content-length:", 15))
            length = strtoul(line + 15, NULL, 10);
        if (!strncasecmp(line, "transfer-encoding:", 18))
            return -1;
    }
    return size < *head + length ? 0 : (ssize_t)(*head + length);
}

static void forget(int fd) {
    free(connections[fd]->bytes);
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

static bool read_more(int fd, struct connection *from) {
    if (from->room - from->size < 4096) {
        from->room = from->room ? from->room * 2 : 8192;
        if (from->room > MAX_REQUEST || !(from->bytes = realloc(from->bytes, from->room)))
            return false;
    }
    ssize_t got = recv(fd, from->bytes + from->size, from->room - from->size, 0);
    if (got < 0 && errno == EAGAIN)
        return true;
    from->size += got > 0 ? got : 0;
    return got > 0;
}

static void serve(int fd) {
    struct connection *from = connections[fd];
    bool is_fine = read_more(fd, from);
    while (is_fine && from->size) {
        size_t head = 0;
        ssize_t taken = whole(from->bytes, from->size, &head);
        if (!taken)
            break;
        if (taken < 0)
            put(fd, refusal);
        is_fine = taken > 0 && respond(fd, from->bytes, from->bytes + head, taken - head);
        if (is_fine)
            memmove(from->bytes, from->bytes + taken, from->size -= taken);
    }
    if (!is_fine)
        forget(fd);
}

static void welcome(int listener, int poller) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_SOCKETS || !(connections[fd] = calloc(1, sizeof **connections))) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct epoll_event readable = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &readable);
    }
}

static int listen_on(int port) {
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 1024)) {
        perror("fake_upstream");
        exit(1);
    }
    return listener;
}

int main(int count, char **words) {
    if (count != 2) {
        fprintf(stderr, "usage: fake_upstream PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prepare_answer();
    prepare_events();
    refusal = text("HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    models = with_length("application/json", "{\"object\":\"list\",\"data\":[{\"id\":\"gpt-4o\",\"object\":\"model\","
                                             "\"created\":1790000000,\"owned_by\":\"fake\"}]}");
    int listener = listen_on(atoi(words[1])), poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event found[256], arriving = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &arriving);
    for (;;) {
        int ready = epoll_wait(poller, found, 256, -1);
        for (int n = 0; n < ready; n++) {
            if (found[n].data.fd == listener)
                welcome(listener, poller);
            else
                serve(found[n].data.fd);
        }
    }
}
