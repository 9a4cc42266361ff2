/*
 * Load on the binary protocol of Cairn, from one thread that is not the limit: epoll, no allocation per request.
 *
 *   cc -O2 -o cairn-load cairn-load.c
 *   cairn-load --port 9090 --op get --connections 50 --pipeline 1 --requests 100000 [--host 127.0.0.1]
 *              [--keys 100000] [--value-bytes 100] [--sequential] [--random-values] [--seconds S] [--no-hello] [--rate R]
 *
 * Keys are "key:" and 12 digits, below --keys, uniformly random, or 0, 1, 2 ... with --sequential (to load a node).
 * Values are JSON objects of --value-bytes bytes, always the same, or of random letters with --random-values, which LZ4 can't
 * make smaller. With --port 9090,9190,9290 the connections are spread over several nodes. One line of JSON goes to stdout:
 *   {"op":"get","connections":50,"pipeline":1,"requests":100000,"seconds":1.9,"perSecond":52631,"p50Ms":0.9,
 *    "p99Ms":1.4,"p999Ms":2.0,"maxMs":3.0,"errors":0,"absent":0}
 * Latency is from the send of a request to the end of its answer. With --rate, request k is due k / R seconds after the
 * start, whether or not earlier ones were answered, and its latency counts from then, so that a stall of the server is
 * seen by everything that was due during it; --pipeline then only bounds what is under way. `errors` counts error answers, `absent` Gets that
 * found nothing. Exit code 0, or 1 with a message on stderr. The wire is described in proto/README.md.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_PIPELINE = 4096, INPUT_BYTES = 1 << 20, KEY_BYTES = 16, MAX_PORTS = 16 };
/* What stands before and behind the text of a value. */
static const char value_head[] = "{\"data\":\"", value_tail[] = "\"}";
enum { HEAD_BYTES = sizeof value_head - 1, TAIL_BYTES = sizeof value_tail - 1 };

/* Latencies in buckets: exact below 128 us, then 64 buckets for each power of two. */
enum { SUB = 64, BUCKETS = 64 * 40 };
static uint64_t histogram[BUCKETS];

static int bucket_of(uint64_t micros) {
  if (micros < 2 * SUB) return (int)micros;
  int shift = 63 - __builtin_clzll(micros) - 6;
  int bucket = (shift + 1) * SUB + (int)((micros >> shift) - SUB);
  return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static uint64_t bucket_value(int bucket) {
  if (bucket < 2 * SUB) return (uint64_t)bucket;
  int shift = bucket / SUB - 1;
  return ((uint64_t)(bucket % SUB) + SUB) << shift;
}

struct connection {
  int fd;
  int in_flight;
  int writable;
  uint8_t *input;
  size_t input_length;
  uint8_t *output;
  size_t output_length, output_sent;
  uint64_t sent_at[MAX_PIPELINE]; /* by id - 1 */
  uint32_t free_ids[MAX_PIPELINE];
  int free_count;
};

static int is_put, sequential, random_values;
static long keys = 100000, value_bytes = 100, requests = 100000;
static long started, finished, error_answers, absent;
static double seconds_limit;
static uint64_t stop_at;
static double rate;
static char *value;
static uint64_t random_state = 0x9e3779b97f4a7c15ull;

static uint64_t now_nanos(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
  fprintf(stderr, "cairn-load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

static uint64_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static size_t put_varint(uint8_t *at, uint64_t v) {
  size_t n = 0;
  while (v >= 0x80) {
    at[n++] = (uint8_t)(v | 0x80);
    v >>= 7;
  }
  at[n++] = (uint8_t)v;
  return n;
}

static size_t varint_bytes(uint64_t v) {
  size_t n = 1;
  while (v >= 0x80) {
    v >>= 7;
    n++;
  }
  return n;
}

static const uint8_t *get_varint(const uint8_t *at, const uint8_t *end, uint64_t *v) {
  int shift = 0;
  *v = 0;
  while (at < end && shift < 64) {
    *v |= (uint64_t)(*at & 0x7f) << shift;
    if (*at++ < 0x80) return at;
    shift += 7;
  }
  errno = 0;
  fail("an answer ends inside a number");
  return NULL;
}

/* Letters that carry six bits each: nothing repeats, so nothing is won by looking for repetitions. */
static void fill_random(uint8_t *at, size_t length) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (size_t i = 0; i < length;)
    for (uint64_t r = next_random(), k = 0; k < 10 && i < length; k++, r >>= 6) at[i++] = (uint8_t)letters[r & 63];
}

static void put_u32(uint8_t *at, uint32_t v) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static size_t request_bytes(void) { return 64 + KEY_BYTES + (is_put ? (size_t)value_bytes : 0); }

static void add_request(struct connection *c, uint64_t now) {
  uint32_t id = c->free_ids[--c->free_count];
  uint64_t key = sequential ? (uint64_t)(started % keys) : next_random() % (uint64_t)keys;
  uint8_t *start = c->output + c->output_length;
  uint8_t *at = start + 4;
  size_t body = 2 + KEY_BYTES + (is_put ? 1 + varint_bytes((uint64_t)value_bytes) + (size_t)value_bytes : 0);
  *at++ = 0x08; /* Request.id */
  at += put_varint(at, id);
  *at++ = is_put ? 0x22 : 0x1a; /* Request.put, Request.get */
  at += put_varint(at, body);
  *at++ = 0x0a; /* key */
  *at++ = KEY_BYTES;
  memcpy(at, "key:", 4);
  for (int i = KEY_BYTES - 1; i >= 4; i--) {
    at[i] = (uint8_t)('0' + key % 10);
    key /= 10;
  }
  at += KEY_BYTES;
  if (is_put) {
    *at++ = 0x12; /* Put.value */
    at += put_varint(at, (uint64_t)value_bytes);
    memcpy(at, value, (size_t)value_bytes);
    if (random_values) fill_random(at + HEAD_BYTES, (size_t)value_bytes - HEAD_BYTES - TAIL_BYTES);
    at += value_bytes;
  }
  put_u32(start, (uint32_t)(at - start - 4));
  c->output_length = (size_t)(at - c->output);
  c->sent_at[id - 1] = now;
  c->in_flight++;
  started++;
}

static void flush(struct connection *c) {
  while (c->output_sent < c->output_length) {
    ssize_t n = write(c->fd, c->output + c->output_sent, c->output_length - c->output_sent);
    if (n < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      fail("write");
    }
    c->output_sent += (size_t)n;
  }
  c->output_sent = c->output_length = 0;
}

static void fill(struct connection *c, uint64_t now) {
  if (c->output_length > 0) return; /* waits for the rest to be taken */
  while (c->free_count > 0 && started < requests && (stop_at == 0 || now < stop_at)) add_request(c, now);
  flush(c);
}

/* Open loop: gives what is due to the connections in turn, as far as they have room. */
static void fill_due(struct connection *all, int connections, uint64_t begin) {
  static int next;
  uint64_t now = now_nanos();
  uint64_t until = stop_at != 0 && now > stop_at ? stop_at : now;
  long due = (long)((double)(until - begin) / 1e9 * rate);
  if (due > requests) due = requests;
  for (int full = 0; started < due && full < connections; next = (next + 1) % connections) {
    struct connection *c = &all[next];
    if (c->free_count == 0 || c->output_sent > 0) {
      full++;
      continue;
    }
    full = 0;
    add_request(c, begin + (uint64_t)((double)started / rate * 1e9));
  }
  for (int i = 0; i < connections; i++)
    if (all[i].output_length > 0) flush(&all[i]);
}

static void take_answer(struct connection *c, const uint8_t *at, const uint8_t *end, uint64_t now) {
  uint64_t id, length;
  errno = 0;
  if (end - at < 3 || *at != 0x08) fail("expected an answer that begins with its id");
  at = get_varint(at + 1, end, &id);
  uint8_t tag = at < end ? *at++ : 0;
  get_varint(at, end, &length);
  if (id == 0 || id > MAX_PIPELINE) fail("the server ended the connection, or answered an id that was not sent");
  if (tag == 0x12) error_answers++; /* Response.error */
  else if (tag != (is_put ? 0x2a : 0x22)) fail("an answer of another kind than the request");
  else if (!is_put && length == 0) absent++;
  histogram[bucket_of((now - c->sent_at[id - 1]) / 1000)]++;
  c->free_ids[c->free_count++] = (uint32_t)id;
  c->in_flight--;
  finished++;
}

static void receive(struct connection *c) {
  for (;;) {
    ssize_t n = read(c->fd, c->input + c->input_length, INPUT_BYTES - c->input_length);
    if (n == 0) {
      errno = 0;
      fail("the server closed the connection");
    }
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return;
      fail("read");
    }
    c->input_length += (size_t)n;
    uint64_t now = now_nanos();
    size_t at = 0;
    while (c->input_length - at >= 4) {
      uint32_t length = get_u32(c->input + at);
      errno = 0;
      if (length > INPUT_BYTES - 4) fail("an answer is too long");
      if (c->input_length - at < 4 + (size_t)length) break;
      take_answer(c, c->input + at + 4, c->input + at + 4 + length, now);
      at += 4 + length;
    }
    memmove(c->input, c->input + at, c->input_length - at);
    c->input_length -= at;
    if (c->input_length + 1 < INPUT_BYTES && (size_t)n < 65536) return; /* nothing more, most likely */
  }
}

static void say_hello(int fd) {
  static const uint8_t hello[] = {
      0x08, 0x01,                                       /* id 1 */
      0x12, 0x15,                                       /* hello, 21 bytes */
      0x0d, 0x43, 0x49, 0x52, 0x4e,                     /* magic */
      0x10, 0x01,                                       /* version 1.0 */
      0x2a, 0x0c, 'c', 'a', 'i', 'r', 'n', '-', 'l', 'o', 'a', 'd', '/', '1', /* client name */
  };
  uint8_t frame[4 + sizeof hello];
  put_u32(frame, sizeof hello);
  memcpy(frame + 4, hello, sizeof hello);
  if (write(fd, frame, sizeof frame) != (ssize_t)sizeof frame) fail("write of the hello");
  uint8_t answer[4096];
  size_t have = 0;
  while (have < 4 || have < 4 + (size_t)get_u32(answer)) {
    ssize_t n = read(fd, answer + have, sizeof answer - have);
    if (n <= 0) fail("no answer to the hello");
    have += (size_t)n;
  }
  errno = 0;
  if (answer[4] != 0x08 || answer[6] != 0x1a) fail("the hello was refused");
}

static double percentile(double share) {
  uint64_t wanted = (uint64_t)((double)finished * share), seen = 0;
  for (int i = 0; i < BUCKETS; i++) {
    seen += histogram[i];
    if (seen > wanted) return (double)bucket_value(i) / 1000.0;
  }
  for (int i = BUCKETS - 1; i >= 0; i--)
    if (histogram[i]) return (double)bucket_value(i) / 1000.0;
  return 0;
}

int main(int argc, char **argv) {
  const char *host = "127.0.0.1", *port = "9090";
  int connections = 50, pipeline = 1, hello = 1;
  for (int i = 1; i < argc; i++) {
    const char *flag = argv[i];
    errno = 0;
    if (!strcmp(flag, "--sequential")) {
      sequential = 1;
      continue;
    }
    if (!strcmp(flag, "--random-values")) {
      random_values = 1;
      continue;
    }
    if (!strcmp(flag, "--no-hello")) {
      hello = 0;
      continue;
    }
    if (++i == argc) fail("a flag without its value");
    if (!strcmp(flag, "--host")) host = argv[i];
    else if (!strcmp(flag, "--port")) port = argv[i];
    else if (!strcmp(flag, "--op")) is_put = !strcmp(argv[i], "put");
    else if (!strcmp(flag, "--connections")) connections = atoi(argv[i]);
    else if (!strcmp(flag, "--pipeline")) pipeline = atoi(argv[i]);
    else if (!strcmp(flag, "--requests")) requests = atol(argv[i]);
    else if (!strcmp(flag, "--seconds")) seconds_limit = atof(argv[i]);
    else if (!strcmp(flag, "--keys")) keys = atol(argv[i]);
    else if (!strcmp(flag, "--rate")) rate = atof(argv[i]);
    else if (!strcmp(flag, "--value-bytes")) value_bytes = atol(argv[i]);
    else fail("an unknown flag; the comment at the top of cairn-load.c lists them");
  }
  errno = 0;
  if (pipeline < 1 || pipeline > MAX_PIPELINE || connections < 1 || keys < 1 || requests < 1) fail("a value out of range");
  if (value_bytes < 16 || value_bytes > 1 << 20) fail("--value-bytes goes from 16 to 1048576");
  value = malloc((size_t)value_bytes + 1);
  if (!value) fail("memory");
  memset(value, 'x', (size_t)value_bytes);
  memcpy(value, value_head, HEAD_BYTES);
  memcpy(value + value_bytes - TAIL_BYTES, value_tail, TAIL_BYTES);

  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *addresses[MAX_PORTS];
  int ports = 0;
  char *list = strdup(port);
  if (!list) fail("memory");
  for (char *one = strtok(list, ","); one; one = strtok(NULL, ",")) {
    if (ports == MAX_PORTS) fail("too many ports");
    if (getaddrinfo(host, one, &hints, &addresses[ports++]) != 0) fail("the host name is unknown");
  }
  if (ports == 0) fail("--port names none");
  int poll = epoll_create1(0);
  struct connection *all = calloc((size_t)connections, sizeof *all);
  if (poll < 0 || !all) fail("setup");
  for (int i = 0; i < connections; i++) {
    struct connection *c = &all[i];
    const struct addrinfo *address = addresses[i % ports];
    c->fd = socket(address->ai_family, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, address->ai_addr, address->ai_addrlen) != 0) fail("connect");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (hello) say_hello(c->fd);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0) fail("fcntl");
    c->input = malloc(INPUT_BYTES);
    c->output = malloc(request_bytes() * (size_t)pipeline);
    if (!c->input || !c->output) fail("memory");
    for (int id = pipeline; id >= 1; id--) c->free_ids[c->free_count++] = (uint32_t)id;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event) != 0) fail("epoll");
  }

  uint64_t begin = now_nanos();
  if (seconds_limit > 0) stop_at = begin + (uint64_t)(seconds_limit * 1e9);
  if (rate == 0)
    for (int i = 0; i < connections; i++) fill(&all[i], begin);
  struct epoll_event events[256];
  uint64_t heard = begin;
  while (finished < started || (rate > 0 && started < requests && (stop_at == 0 || now_nanos() < stop_at))) {
    int n = epoll_wait(poll, events, 256, rate > 0 ? 1 : 30000);
    uint64_t now = now_nanos();
    errno = n == 0 ? 0 : errno;
    if (n > 0) heard = now;
    if (now - heard > 30000000000ull) fail("no answer for 30 seconds");
    for (int i = 0; i < n; i++) {
      struct connection *c = events[i].data.ptr;
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
      flush(c);
      if (rate == 0) fill(c, now_nanos());
    }
    if (rate > 0) fill_due(all, connections, begin);
  }
  double seconds = (double)(now_nanos() - begin) / 1e9;
  printf("{\"op\":\"%s\",\"connections\":%d,\"pipeline\":%d,\"requests\":%ld,\"seconds\":%.3f,\"perSecond\":%.0f,"
         "\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"p999Ms\":%.3f,\"maxMs\":%.3f,\"errors\":%ld,\"absent\":%ld}\n",
         is_put ? "put" : "get", connections, pipeline, finished, seconds, (double)finished / seconds, percentile(0.5),
         percentile(0.99), percentile(0.999), percentile(1.0), error_answers, absent);
  return 0;
}
