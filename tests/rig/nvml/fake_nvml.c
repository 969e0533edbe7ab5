/* A libnvidia-ml.so.1 for tests, with the functions that the agent calls and no GPU behind them.
 *
 *   gcc -O1 -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c
 *
 * Its state is the file that $FAKE_NVML names, "key=value" lines, read again on every call; write a new file and rename
 * it over the old one, so that no call sees half of it. Numbers are bytes unless they say otherwise.
 *   driver=570.86.15   cuda=12080   count=2
 *   gpu0.uuid=  gpu0.name=  gpu0.mem_total=  gpu0.mem_used=  gpu0.cc=9.0
 *   gpu0.busy=50          percent of the time
 *   gpu0.lost=1           every call on that GPU: GPU_IS_LOST
 *   error.<function>=N    that function returns error N: "error.Init=9" is a driver that is not loaded
 *   delay.<function>=MS   that function sleeps first: a driver that hangs
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_FOUND = 6, GPU_IS_LOST = 15 };
enum { MAX_GPUS = 64, TEXT = 128 };

typedef int Return;
typedef struct device { int index; } *Device;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;

static struct device devices[MAX_GPUS];
static int references;

/* The value of a key; 0 when it is not there. */
static int text_of(const char *key, char *value, size_t size) {
    const char *path = getenv("FAKE_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    size_t length = strlen(key);
    int found = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) != 0 || line[length] != '=') continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(value, size, "%s", line + length + 1);
        found = 1;
    }
    if (file) fclose(file);
    return found;
}

static long long number_of(const char *key, long long otherwise) {
    char value[TEXT];
    return text_of(key, value, sizeof value) ? strtoll(value, NULL, 0) : otherwise;
}

static const char *gpu_key(Device device, const char *name) {
    static char key[TEXT];
    snprintf(key, sizeof key, "gpu%d.%s", device->index, name);
    return key;
}

/* What every function does first: hang, fail, or refuse because nobody called Init. */
static Return enter(const char *function, int needs_init) {
    char key[TEXT];
    snprintf(key, sizeof key, "delay.%s", function);
    long long delay_ms = number_of(key, 0);
    struct timespec pause = { delay_ms / 1000, delay_ms % 1000 * 1000000 };
    if (delay_ms) nanosleep(&pause, NULL);
    snprintf(key, sizeof key, "error.%s", function);
    Return error = (Return)number_of(key, SUCCESS);
    if (error) return error;
    return needs_init && !references ? UNINITIALIZED : SUCCESS;
}

static Return enter_device(const char *function, Device device) {
    Return error = enter(function, 1);
    if (error) return error;
    if (device < devices || device >= devices + MAX_GPUS) return INVALID_ARGUMENT;
    return number_of(gpu_key(device, "lost"), 0) ? GPU_IS_LOST : SUCCESS;
}

static Return give_text(const char *key, const char *otherwise, char *buffer, unsigned size) {
    char value[TEXT];
    snprintf(buffer, size, "%s", text_of(key, value, sizeof value) ? value : otherwise);
    return SUCCESS;
}

Return nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    Return error = enter("Init", 0);
    if (!error) references++;
    return error;
}

Return nvmlShutdown(void) {
    if (!references) return UNINITIALIZED;
    references--;
    return SUCCESS;
}

const char *nvmlErrorString(Return error) {
    switch (error) {
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case 9: return "Driver Not Loaded";
    case GPU_IS_LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}

Return nvmlSystemGetDriverVersion(char *buffer, unsigned size) {
    Return error = enter("DriverVersion", 1);
    return error ? error : give_text("driver", "570.86.15", buffer, size);
}

Return nvmlSystemGetCudaDriverVersion_v2(int *version) {
    Return error = enter("CudaDriverVersion", 1);
    if (!error) *version = (int)number_of("cuda", 12080);
    return error;
}

Return nvmlDeviceGetCount_v2(unsigned *count) {
    Return error = enter("Count", 1);
    if (!error) *count = (unsigned)number_of("count", 0);
    return error;
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    Return error = enter("HandleByIndex", 1);
    if (error) return error;
    if (index >= MAX_GPUS || index >= (unsigned)number_of("count", 0)) return INVALID_ARGUMENT;
    devices[index].index = (int)index;
    *device = &devices[index];
    return number_of(gpu_key(*device, "lost"), 0) ? GPU_IS_LOST : SUCCESS;
}

Return nvmlDeviceGetUUID(Device device, char *buffer, unsigned size) {
    Return error = enter_device("UUID", device);
    return error ? error : give_text(gpu_key(device, "uuid"), "GPU-0", buffer, size);
}

Return nvmlDeviceGetName(Device device, char *buffer, unsigned size) {
    Return error = enter_device("Name", device);
    return error ? error : give_text(gpu_key(device, "name"), "NVIDIA Fake", buffer, size);
}

Return nvmlDeviceGetMemoryInfo(Device device, Memory *memory) {
    Return error = enter_device("MemoryInfo", device);
    if (error) return error;
    memory->total = (unsigned long long)number_of(gpu_key(device, "mem_total"), 0);
    memory->used = (unsigned long long)number_of(gpu_key(device, "mem_used"), 0);
    memory->free = memory->total - memory->used;
    return SUCCESS;
}

Return nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) {
    Return error = enter_device("CudaComputeCapability", device);
    char value[TEXT];
    if (error) return error;
    give_text(gpu_key(device, "cc"), "9.0", value, sizeof value);
    return sscanf(value, "%d.%d", major, minor) == 2 ? SUCCESS : NOT_FOUND;
}

Return nvmlDeviceGetUtilizationRates(Device device, Utilization *utilization) {
    Return error = enter_device("UtilizationRates", device);
    if (error) return error;
    utilization->gpu = (unsigned)number_of(gpu_key(device, "busy"), 0);
    utilization->memory = 0;
    return SUCCESS;
}
