/* A stage and a sender in C, on libwayland and what wayland-scanner makes of protocol.xml; nothing of ours is linked.
 *
 * client SOCKET exchange   publishes three messages (inline, sealed memfd, pool), then leases each and completes it
 * client SOCKET breach     sends a pool's region that does not lie in it and says which error came back
 *
 * It tells what it saw, a line each, for test_libwayland.py to read; exit status 1 where the connection ended.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <wayland-client.h>

#include "clarion-client-protocol.h"

enum { INLINE_SIZE = 100, LARGE_SIZE = 300000, POOL_SIZE = 1 << 20, MESSAGES = 3 };

struct state {
    struct clarion_manager_v1 *manager;
    struct clarion_pool_v1 *sent, *received;
    unsigned char *sent_memory, *received_memory;
    uint32_t max_inline, credit;
    int stages, accepted, fresh, settled, taken;
    struct { uint32_t hi, lo, fence; } lease;
};

static uint64_t word(uint32_t hi, uint32_t lo) { return (uint64_t)hi << 32 | lo; }

/* Records are little endian, whatever the machine is. */
static uint64_t little(const unsigned char *octets, int size) {
    return size ? octets[0] | little(octets + 1, size - 1) << 8 : 0;
}
static void put(unsigned char *octets, uint64_t value, int size) {
    for (int at = 0; at < size; at++) octets[at] = value >> 8 * at & 0xFF;
}

static struct wl_array array(const void *octets, size_t size) {
    return (struct wl_array){.size = size, .alloc = size, .data = (void *)octets};
}

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static uint32_t sum(const unsigned char *octets, size_t size) {
    uint32_t total = 0;
    for (size_t at = 0; at < size; at++) total = total * 31 + octets[at];
    return total;
}

static void fill(unsigned char *octets, size_t size, int seed) {
    for (size_t at = 0; at < size; at++) octets[at] = (unsigned char)(at * 7 + seed);
}

static int memfd(size_t size, unsigned char **memory) {
    int fd = memfd_create("interop", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, size) < 0) fail("memfd");
    *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (*memory == MAP_FAILED) fail("mmap");
    return fd;
}

/* ---- manager, pool ---- */
static void on_limits(void *data, struct clarion_manager_v1 *manager, uint32_t max_inline, uint32_t max_body,
                      uint32_t max_facts, uint32_t max_credit, uint32_t max_pool) {
    (void)manager, (void)max_facts, (void)max_credit;
    ((struct state *)data)->max_inline = max_inline;
    printf("limits %u %d\n", max_inline, max_body > LARGE_SIZE && max_pool >= POOL_SIZE);
}
static void on_stage(void *data, struct clarion_manager_v1 *manager, const char *name, uint32_t permissions) {
    (void)manager;
    ((struct state *)data)->stages++;
    if (permissions & CLARION_MANAGER_V1_PERMISSION_PUBLISH) printf("publishes to %s\n", name);
}
static void on_done(void *data, struct clarion_manager_v1 *manager) { (void)data, (void)manager; }
static const struct clarion_manager_v1_listener manager_listener = {on_limits, on_stage, on_done};

static void on_echoed(void *data, struct clarion_pool_v1 *pool, uint32_t serial) {
    (void)data, (void)pool;
    printf("echoed %u\n", serial);
}
static void on_taken(void *data, struct clarion_pool_v1 *pool, uint32_t offset) {
    (void)pool, (void)offset;
    ((struct state *)data)->taken++;
}
static const struct clarion_pool_v1_listener pool_listener = {on_echoed, on_taken};

/* ---- producer ---- */
static void on_credit(void *data, struct clarion_producer_v1 *producer, uint32_t count) {
    (void)producer;
    ((struct state *)data)->credit += count;
}
static void on_notifications(void *data, struct clarion_producer_v1 *producer, uint32_t serial, struct wl_array *ids) {
    (void)data, (void)producer;
    for (const unsigned char *id = ids->data; id < (unsigned char *)ids->data + ids->size; id += 8)
        printf("notification %u %" PRIu64 "\n", serial, little(id, 8));
}
static void on_accepted(void *data, struct clarion_producer_v1 *producer, uint32_t serial, uint32_t hi, uint32_t lo,
                        uint32_t duplicate, struct wl_array *ids) {
    (void)hi, (void)lo;
    on_notifications(data, producer, serial, ids);
    ((struct state *)data)->accepted++;
    ((struct state *)data)->fresh += !duplicate;
    printf("accepted %u %u\n", serial, duplicate);
}
static void on_rejected(void *data, struct clarion_producer_v1 *producer, uint32_t serial, uint32_t reason,
                        const char *detail) {
    (void)producer;
    ((struct state *)data)->accepted++;
    printf("rejected %u %u %s\n", serial, reason, detail);
}
static const struct clarion_producer_v1_listener producer_listener = {on_credit, on_notifications, on_accepted,
                                                                       on_rejected};

/* ---- consumer ---- */
static void complete(struct state *state, struct clarion_consumer_v1 *consumer, const unsigned char *octets,
                     size_t size, const char *way) {
    printf("body %" PRIu64 " %s %zu %u\n", word(state->lease.hi, state->lease.lo), way, size, sum(octets, size));
    unsigned char record[12];
    put(record, word(state->lease.hi, state->lease.lo), 8), put(record + 8, state->lease.fence, 4);
    struct wl_array leases = array(record, sizeof record);
    clarion_consumer_v1_complete(consumer, &leases, "authenticated", 0, 0);
}
static void on_lease(void *data, struct clarion_consumer_v1 *consumer, uint32_t hi, uint32_t lo, uint32_t fence,
                     uint32_t message_hi, uint32_t message_lo, uint32_t ordinal, uint32_t attempt, uint32_t priority,
                     uint32_t accepted_hi, uint32_t accepted_lo, const char *principal, struct wl_array *recipient,
                     struct wl_array *address, struct wl_array *facts, uint32_t follows, struct wl_array *body) {
    struct state *state = data;
    (void)consumer, (void)message_hi, (void)message_lo, (void)accepted_hi, (void)accepted_lo;
    state->lease.hi = hi, state->lease.lo = lo, state->lease.fence = fence;
    printf("lease %" PRIu64 " %u %u %u %s %zu %.*s %.*s\n", word(hi, lo), ordinal, attempt, priority, principal,
           recipient->size, (int)address->size, (char *)address->data, (int)facts->size, (char *)facts->data);
    if (!follows) complete(state, consumer, body->data, body->size, "inline");
}
static void on_body_fd(void *data, struct clarion_consumer_v1 *consumer, uint32_t hi, uint32_t lo, int32_t fd,
                       uint32_t size) {
    unsigned char *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)hi, (void)lo;
    if (memory == MAP_FAILED) fail("mmap");
    complete(data, consumer, memory, size, fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE ? "sealed" : "unsealed");
    munmap(memory, size);
    close(fd);
}
static void on_body_pool(void *data, struct clarion_consumer_v1 *consumer, uint32_t hi, uint32_t lo, uint32_t offset,
                         uint32_t size) {
    struct state *state = data;
    (void)hi, (void)lo;
    complete(state, consumer, state->received_memory + offset, size, "pool");
    clarion_consumer_v1_release(consumer, offset);
}
static void on_settled(void *data, struct clarion_consumer_v1 *consumer, struct wl_array *leases) {
    (void)consumer;
    for (const unsigned char *lease = leases->data; lease < (unsigned char *)leases->data + leases->size; lease += 12) {
        ((struct state *)data)->settled++;
        printf("settled %" PRIu64 " %" PRIu64 "\n", little(lease, 8), little(lease + 8, 4));
    }
}
static void on_refused(void *data, struct clarion_consumer_v1 *consumer, uint32_t hi, uint32_t lo, uint32_t fence,
                       uint32_t reason, const char *detail) {
    (void)consumer, (void)fence;
    ((struct state *)data)->settled++;
    printf("refused %" PRIu64 " %u %s\n", word(hi, lo), reason, detail);
}
static void on_revoked(void *data, struct clarion_consumer_v1 *consumer, uint32_t hi, uint32_t lo, uint32_t fence) {
    (void)data, (void)consumer, (void)fence;
    printf("revoked %" PRIu64 "\n", word(hi, lo));
}
static void on_closed(void *data, struct clarion_consumer_v1 *consumer, uint32_t reason) {
    (void)data, (void)consumer;
    printf("closed %u\n", reason);
}
static const struct clarion_consumer_v1_listener consumer_listener = {
    on_lease, on_body_fd, on_body_pool, on_settled, on_refused, on_revoked, on_closed};

/* ---- the exchange ---- */
static void on_global(void *data, struct wl_registry *registry, uint32_t name, const char *interface, uint32_t version) {
    struct state *state = data;
    if (strcmp(interface, clarion_manager_v1_interface.name)) return;
    state->manager = wl_registry_bind(registry, name, &clarion_manager_v1_interface, version);
    clarion_manager_v1_add_listener(state->manager, &manager_listener, state);
}
static void on_global_remove(void *data, struct wl_registry *registry, uint32_t name) { (void)data, (void)registry, (void)name; }
static const struct wl_registry_listener registry_listener = {on_global, on_global_remove};

static void wait_for(struct wl_display *display, const int *count, int wanted) {
    while (*count < wanted && wl_display_dispatch(display) >= 0) continue;
}

static struct clarion_pool_v1 *pool(struct state *state, unsigned char **memory) {
    int fd = memfd(POOL_SIZE, memory);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) fail("seal");
    struct clarion_pool_v1 *made = clarion_manager_v1_create_pool(state->manager, fd, POOL_SIZE);
    clarion_pool_v1_add_listener(made, &pool_listener, state);
    close(fd);
    return made;
}

static void publish(struct state *state, struct clarion_producer_v1 *producer) {
    static unsigned char small[INLINE_SIZE], who[32];
    unsigned char *large;
    struct wl_array lookup = array(who, sizeof who), address = array("ada", 3), facts = array("{\"from\":\"c\"}", 12);
    struct wl_array digest = array("", 0), body = array(small, sizeof small);
    int fd = memfd(LARGE_SIZE, &large);

    fill(small, INLINE_SIZE, 1);
    clarion_producer_v1_recipient(producer, &lookup, &address);
    clarion_producer_v1_accept(producer, 1, CLARION_MANAGER_V1_PRIORITY_NORMAL, "c", "one", &digest, &facts, &body);

    fill(large, LARGE_SIZE, 2);
    munmap(large, LARGE_SIZE); /* F_SEAL_WRITE wants no writable mapping left */
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) fail("seal");
    clarion_producer_v1_recipient(producer, &lookup, &address);
    clarion_producer_v1_accept_fd(producer, 2, CLARION_MANAGER_V1_PRIORITY_URGENT, "c", NULL, &digest, &facts, fd, LARGE_SIZE);
    close(fd);

    fill(state->sent_memory + 64, LARGE_SIZE, 3);
    clarion_producer_v1_recipient(producer, &lookup, &address);
    clarion_producer_v1_accept_pool(producer, 3, CLARION_MANAGER_V1_PRIORITY_NORMAL, "c", NULL, &digest, &facts, state->sent, 64,
                                    LARGE_SIZE);
}

static void exchange(struct state *state, struct wl_display *display) {
    struct clarion_producer_v1 *producer = clarion_manager_v1_create_producer(state->manager);
    clarion_producer_v1_add_listener(producer, &producer_listener, state);
    publish(state, producer);
    wait_for(display, &state->accepted, MESSAGES);

    struct clarion_consumer_v1 *consumer = clarion_manager_v1_create_consumer(state->manager, "authentication", 60000);
    clarion_consumer_v1_add_listener(consumer, &consumer_listener, state);
    clarion_consumer_v1_grant(consumer, state->fresh - 1); /* the urgent one first, by memfd: there is no pool yet */
    wait_for(display, &state->settled, state->fresh - 1);
    clarion_consumer_v1_use_pool(consumer, state->received);
    clarion_consumer_v1_grant(consumer, 1);
    wait_for(display, &state->settled, state->fresh);
    clarion_consumer_v1_destroy(consumer);
    clarion_producer_v1_destroy(producer);
    wl_display_roundtrip(display);
    printf("taken %d, credit %u\n", state->taken, state->credit);
}

int main(int count, char **words) {
    struct state state = {0};
    struct wl_display *display = count == 3 ? wl_display_connect(words[1]) : NULL;
    if (!display) return fprintf(stderr, "client SOCKET exchange|breach\n"), 2;
    struct wl_registry *registry = wl_display_get_registry(display);
    wl_registry_add_listener(registry, &registry_listener, &state);
    wl_display_roundtrip(display);
    wl_display_roundtrip(display); /* what the manager says once it is bound */
    if (!state.manager) return fprintf(stderr, "no clarion_manager_v1\n"), 2;
    printf("stages %d\n", state.stages);
    state.sent = pool(&state, &state.sent_memory);
    state.received = pool(&state, &state.received_memory);

    if (!strcmp(words[2], "breach"))
        clarion_pool_v1_echo(state.sent, 5, POOL_SIZE, 1, 0);
    else
        exchange(&state, display);
    clarion_pool_v1_echo(state.received, 6, 0, 1, 1);
    if (wl_display_roundtrip(display) < 0) {
        const struct wl_interface *interface = NULL;
        uint32_t id, code = wl_display_get_protocol_error(display, &interface, &id);
        printf("error %s %u %u\n", interface ? interface->name : "-", code, CLARION_POOL_V1_ERROR_OUT_OF_BOUNDS);
        return 1;
    }
    wl_display_disconnect(display);
    return 0;
}
