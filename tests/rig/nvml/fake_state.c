/* The state of the fake library: a file of "key=value" lines, read again when it is another one, that a test writes.
 *
 * $FAKE_NVML names it. Write a new file and rename it over the old one, so that no call sees half of it.
 * fake_nvml.c says which keys there are.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fake_nvml.h"

/* Calls `line(context, key, value)` for each line until it says that it has enough. */
typedef int (*Line)(void *context, const char *key, char *value);

/* The file as it was read last, cut into keys and values. What a real library costs is no reading of a file in each call. */
enum { MAX_LINES = 4096 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stat read_of;
static char *text;
static struct { const char *key; char *value; } lines[MAX_LINES];
static int line_count;

static void cut(void) {
    line_count = 0;
    for (char *at = text; *at && line_count < MAX_LINES;) {
        char *end = at + strcspn(at, "\n"), *value = memchr(at, '=', (size_t)(end - at));
        char *next = *end ? end + 1 : end;
        *end = 0;
        if (value) {
            *value++ = 0;
            lines[line_count].key = at;
            lines[line_count++].value = value;
        }
        at = next;
    }
}

/* With the lock held. */
static void refresh(const char *path) {
    struct stat now;
    if (stat(path, &now)) {
        line_count = 0;
        read_of = (struct stat){ 0 };
        return;
    }
    if (now.st_ino == read_of.st_ino && now.st_size == read_of.st_size && now.st_mtim.tv_sec == read_of.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == read_of.st_mtim.tv_nsec) return;
    FILE *file = fopen(path, "re");
    if (!file) return;
    free(text);
    text = calloc(1, (size_t)now.st_size + 1);
    if (text && fread(text, 1, (size_t)now.st_size, file) != (size_t)now.st_size) *text = 0;
    fclose(file);
    if (!text) abort();
    read_of = now;
    cut();
}

static void each_line(Line line, void *context) {
    const char *path = getenv("FAKE_NVML");
    if (!path) return;
    pthread_mutex_lock(&lock);
    refresh(path);
    for (int at = 0; at < line_count; at++)
        if (line(context, lines[at].key, lines[at].value)) break;
    pthread_mutex_unlock(&lock);
}

struct wanted {
    const char *key;
    char *value;
    size_t size;
    int found;
};

static int take(void *context, const char *key, char *value) {
    struct wanted *wanted = context;
    if (strcmp(key, wanted->key) != 0) return 0;
    snprintf(wanted->value, wanted->size, "%s", value);
    return wanted->found = 1;
}

int state_text(const char *key, char *value, size_t size) {
    struct wanted wanted = { key, value, size, 0 };
    each_line(take, &wanted);
    return wanted.found;
}

long long state_number(const char *key, long long otherwise) {
    char value[TEXT];
    return state_text(key, value, sizeof value) ? strtoll(value, NULL, 0) : otherwise;
}

static void name_key(nvmlDevice_t device, const char *name, char *key) {
    if (device->instance == WHOLE) snprintf(key, TEXT, "gpu%d.%s", device->index, name);
    else snprintf(key, TEXT, "gpu%d.mig%d.%s", device->index, device->instance, name);
}

int device_text(nvmlDevice_t device, const char *name, char *value, size_t size) {
    char key[TEXT];
    name_key(device, name, key);
    return state_text(key, value, size);
}

long long device_number(nvmlDevice_t device, const char *name, long long otherwise) {
    char key[TEXT];
    name_key(device, name, key);
    return state_number(key, otherwise);
}

/* "delay.X", "gpu0.delay.X" in milliseconds, "error.X", "gpu0.error.X" as a number; the GPU's own goes first. */
struct injection {
    char own_delay[TEXT], delay[TEXT], own_error[TEXT], error[TEXT], lost[TEXT];
    long long own_delay_ms, delay_ms;
    int own_error_code, error_code, is_lost;
};

static int take_injection(void *context, const char *key, char *value) {
    struct injection *it = context;
    if (!strcmp(key, it->own_delay)) it->own_delay_ms = strtoll(value, NULL, 0);
    else if (!strcmp(key, it->delay)) it->delay_ms = strtoll(value, NULL, 0);
    else if (!strcmp(key, it->own_error)) it->own_error_code = atoi(value);
    else if (!strcmp(key, it->error)) it->error_code = atoi(value);
    else if (!strcmp(key, it->lost)) it->is_lost = atoi(value);
    return 0;
}

static struct injection injection_of(nvmlDevice_t device, const char *function) {
    struct injection it = { 0 };
    snprintf(it.delay, TEXT, "delay.%s", function);
    snprintf(it.error, TEXT, "error.%s", function);
    if (device) {
        snprintf(it.own_delay, TEXT, "gpu%d.delay.%s", device->index, function);
        snprintf(it.own_error, TEXT, "gpu%d.error.%s", device->index, function);
        snprintf(it.lost, TEXT, "gpu%d.lost", device->index);
    }
    each_line(take_injection, &it);
    return it;
}

int state_injected(nvmlDevice_t device, const char *function) {
    long long waited_ms = 0;
    struct injection it;
    for (;;) { /* in small steps: the test ends the hang by taking the key away */
        it = injection_of(device, function);
        long long delay_ms = it.own_delay_ms ? it.own_delay_ms : it.delay_ms;
        if (waited_ms >= delay_ms) break;
        struct timespec pause = { 0, 20 * 1000000 };
        nanosleep(&pause, NULL);
        waited_ms += 20;
    }
    if (it.is_lost) return NVML_ERROR_GPU_IS_LOST;
    return it.own_error_code ? it.own_error_code : it.error_code;
}

/* A process that holds os.memfd_create("fakegpu:<uuid>:<bytes>") holds that much of that GPU until it dies. */
static void scan_process(unsigned pid, const char *wanted, ProcessFound found, void *context) {
    char path[64], link[TEXT];
    unsigned long long bytes = 0;
    int holds = 0;
    snprintf(path, sizeof path, "/proc/%u/fd", pid);
    DIR *folder = opendir(path);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        ssize_t length = readlinkat(dirfd(folder), entry->d_name, link, sizeof link - 1);
        if (length <= 0 || strncmp(link, wanted, strlen(wanted)) != 0) continue;
        link[length] = 0;
        bytes += strtoull(link + strlen(wanted), NULL, 10);
        holds = 1;
    }
    closedir(folder);
    if (holds) found(context, pid, bytes);
}

void scan_processes(const char *uuid, ProcessFound found, void *context) {
    char wanted[TEXT];
    snprintf(wanted, sizeof wanted, "/memfd:fakegpu:%s:", uuid);
    DIR *folder = opendir("/proc");
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            scan_process((unsigned)atoi(entry->d_name), wanted, found, context);
    closedir(folder);
}

/* "xid.<sequence>=<gpu>:<code>" and "event.<sequence>=<gpu>:<type>:<data>". */
struct event {
    long long after, sequence, newest;
    int index;
    unsigned long long type, data;
};

static int take_event(void *context, const char *key, char *value) {
    enum { XID_CRITICAL_ERROR = 8 };
    struct event *best = context;
    struct event it = { .type = XID_CRITICAL_ERROR };
    if (sscanf(key, "xid.%lld", &it.sequence) == 1) {
        if (sscanf(value, "%d:%llu", &it.index, &it.data) != 2) return 0;
    } else if (sscanf(key, "event.%lld", &it.sequence) == 1) {
        if (sscanf(value, "%d:%llu:%llu", &it.index, &it.type, &it.data) != 3) return 0;
    } else {
        return 0;
    }
    if (it.sequence > best->newest) best->newest = it.sequence;
    if (it.sequence <= best->after || (best->sequence && it.sequence >= best->sequence)) return 0;
    it.after = best->after;
    it.newest = best->newest;
    *best = it;
    return 0;
}

long long next_event(long long sequence, int *index, unsigned long long *type, unsigned long long *data) {
    struct event best = { .after = sequence };
    each_line(take_event, &best);
    *index = best.index;
    *type = best.type;
    *data = best.data;
    return best.sequence;
}

long long newest_event(void) {
    struct event best = { .after = 0 };
    each_line(take_event, &best);
    return best.newest;
}
