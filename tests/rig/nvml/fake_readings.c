/* How a GPU of the fake library is: its memory and who holds it, its sensors, its error counters. */
#include <stdio.h>
#include <string.h>

#include "fake_nvml.h"

/* --- processes and memory --- */

struct processes {
    nvmlDevice_t device;
    nvmlProcessInfo_t *found; /* 0: only count them */
    unsigned room, count;
    unsigned long long bytes;
};

static void add_process(void *context, unsigned pid, unsigned long long bytes) {
    struct processes *all = context;
    if (all->found && all->count < all->room) {
        int is_instance = all->device->instance != WHOLE;
        all->found[all->count] = (nvmlProcessInfo_t){
            .pid = pid,
            .usedGpuMemory = bytes,
            .gpuInstanceId = (unsigned)(is_instance ? device_number(all->device, "gi", all->device->instance) : NO_INSTANCE),
            .computeInstanceId = (unsigned)(is_instance ? device_number(all->device, "ci", 0) : NO_INSTANCE),
        };
    }
    all->count++;
    all->bytes += bytes;
}

static void each_process(struct processes *all, int graphics) {
    char key[TEXT], value[TEXT], kind[TEXT], uuid[TEXT];
    for (int number = 0; number < 64; number++) {
        unsigned pid;
        long long bytes;
        snprintf(key, sizeof key, "proc%d", number);
        if (!device_text(all->device, key, value, sizeof value)) break;
        strcpy(kind, "compute");
        if (sscanf(value, "%u,%lld,%[^,]", &pid, &bytes, kind) < 2 || (strcmp(kind, "graphics") == 0) != graphics) continue;
        add_process(all, pid, bytes == NOT_SUPPORTED ? ~0ULL : (unsigned long long)bytes);
    }
    if (!graphics && state_number("scan_proc", 0) && device_text(all->device, "uuid", uuid, sizeof uuid))
        scan_processes(uuid, add_process, all);
}

static nvmlReturn_t give_processes(nvmlDevice_t device, int graphics, unsigned *count, nvmlProcessInfo_t *found) {
    struct processes all = { .device = device, .found = found, .room = found ? *count : 0 };
    each_process(&all, graphics);
    *count = all.count;
    return all.count > all.room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *found) {
    ENTER_DEVICE("ComputeRunningProcesses");
    return give_processes(device, 0, count, found);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *found) {
    ENTER_DEVICE("GraphicsRunningProcesses");
    return give_processes(device, 1, count, found);
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned pid, char *name, unsigned size) {
    ENTER("ProcessName");
    for (int index = 0; index < MAX_GPUS && index < state_number("count", 0); index++)
        for (int number = 0; number < 64; number++) {
            char key[TEXT], value[TEXT], command[TEXT];
            unsigned one;
            snprintf(key, sizeof key, "gpu%d.proc%d", index, number);
            if (!state_text(key, value, sizeof value)) break;
            if (sscanf(value, "%u,%*[^,],%*[^,],%255[^\n]", &one, command) == 2 && one == pid)
                return give_text(command, name, size);
        }
    return NVML_ERROR_NOT_FOUND;
}

/* The sums of NVML: v2 counts what is reserved apart, v1 with what is used. */
static nvmlReturn_t give_memory(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    long long total = device_number(device, "mem_total", 0), used = device_number(device, "mem_used", 0);
    long long reserved = device_number(device, "mem_reserved", 0);
    char uuid[TEXT];
    if (total == NOT_SUPPORTED) return NVML_ERROR_NOT_SUPPORTED;
    struct processes held = { .device = device };
    if (state_number("scan_proc", 0) && device_text(device, "uuid", uuid, sizeof uuid))
        scan_processes(uuid, add_process, &held);
    used += (long long)held.bytes;
    if (used > total - reserved) used = total - reserved;
    memory->total = (unsigned long long)total;
    memory->reserved = (unsigned long long)reserved;
    memory->used = (unsigned long long)used;
    memory->free = (unsigned long long)(total - reserved - used);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    ENTER_DEVICE("MemoryInfo");
    nvmlMemory_v2_t whole;
    nvmlReturn_t error = give_memory(device, &whole);
    if (error) return error;
    memory->total = whole.total;
    memory->free = whole.free;
    memory->used = whole.used + whole.reserved;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    ENTER_DEVICE("MemoryInfo_v2");
    ENTER_DEVICE("MemoryInfo"); /* what a test says of the one holds for the other */
    if (memory->version != (sizeof *memory | 2u << 24)) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
    return give_memory(device, memory);
}

/* --- how it is --- */

nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization) {
    ENTER_DEVICE("UtilizationRates");
    if (device->instance != WHOLE || device_number(device, "mig", NOT_SUPPORTED) == 1) return NVML_ERROR_NOT_SUPPORTED;
    utilization->memory = (unsigned)device_number(device, "mem_busy", 0);
    return give_number(device, "busy", 0, &utilization->gpu);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned *celsius) {
    ENTER_DEVICE("Temperature");
    return sensor ? NVML_ERROR_INVALID_ARGUMENT : give_number(device, "temp", 35, celsius);
}

nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned *milliwatts) {
    ENTER_DEVICE("PowerUsage");
    return give_number(device, "power", 70000, milliwatts);
}

nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned *milliwatts) {
    ENTER_DEVICE("EnforcedPowerLimit");
    return give_number(device, "power_limit", 700000, milliwatts);
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, nvmlClockType_t kind, unsigned *mhz) {
    ENTER_DEVICE("ClockInfo");
    switch ((int)kind) {
    case 1: return give_number(device, "sm_clock", 1980, mhz);
    case 2: return give_number(device, "mem_clock", 2619, mhz);
    default: return NVML_ERROR_INVALID_ARGUMENT;
    }
}

static nvmlReturn_t give_throttle(nvmlDevice_t device, unsigned long long *reasons) {
    unsigned value = 0;
    nvmlReturn_t error = give_number(device, "throttle", 0, &value);
    *reasons = value;
    return error;
}

nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t device, unsigned long long *reasons) {
    ENTER_DEVICE("CurrentClocksEventReasons");
    return give_throttle(device, reasons);
}

nvmlReturn_t nvmlDeviceGetCurrentClocksThrottleReasons(nvmlDevice_t device, unsigned long long *reasons) {
    ENTER_DEVICE("CurrentClocksThrottleReasons");
    return give_throttle(device, reasons);
}

/* Counters, as field values: the function whose errors they share, the key, and what it is where no key is. */
static const struct {
    unsigned field;
    const char *function, *key;
    long long otherwise;
} fields[] = {
    { 3, "TotalEccErrors", "ecc_corr_vol", 0 },
    { 4, "TotalEccErrors", "ecc_uncorr_vol", 0 },
    { 5, "TotalEccErrors", "ecc_corr_agg", 0 },
    { 6, "TotalEccErrors", "ecc_uncorr_agg", 0 },
    { 29, "RetiredPages", "retired_sbe", NOT_SUPPORTED },
    { 30, "RetiredPages", "retired_dbe", NOT_SUPPORTED },
    { 31, "RetiredPagesPendingStatus", "retired_pending", NOT_SUPPORTED },
    { 52, "NvLinkErrorCounter", "nvlink_errors", 0 },
    { 94, "PcieReplayCounter", "pcie_replays", 0 },
    { 142, "RemappedRows", "remap_corr", 0 },
    { 143, "RemappedRows", "remap_uncorr", 0 },
    { 144, "RemappedRows", "remap_pending", 0 },
    { 145, "RemappedRows", "remap_failed", 0 },
};

static nvmlReturn_t give_field(nvmlDevice_t device, unsigned field, unsigned long long *value) {
    for (size_t at = 0; at < sizeof fields / sizeof *fields; at++) {
        if (fields[at].field != field) continue;
        ENTER_DEVICE(fields[at].function);
        if (!strncmp(fields[at].key, "ecc_", 4) && device_number(device, "ecc_mode", 1) < 1) break;
        if (!strncmp(fields[at].key, "nvlink_", 7) && device_number(device, "nvlinks", 0) < 1) break;
        long long number = device_number(device, fields[at].key, fields[at].otherwise);
        if (number == NOT_SUPPORTED) break;
        *value = (unsigned long long)number;
        return NVML_SUCCESS;
    }
    return NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    enum { UNSIGNED_LONG_LONG = 3 };
    ENTER_DEVICE("FieldValues");
    for (int at = 0; at < count; at++) {
        unsigned long long value = 0;
        values[at].nvmlReturn = give_field(device, values[at].fieldId, &value);
        values[at].valueType = UNSIGNED_LONG_LONG;
        values[at].value.ullVal = value;
        if (values[at].nvmlReturn == NVML_ERROR_GPU_IS_LOST) return NVML_ERROR_GPU_IS_LOST;
    }
    return NVML_SUCCESS;
}
