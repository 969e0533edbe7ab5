/* A libnvidia-ml.so.1 for tests, with the functions that the agent calls and no GPU behind them.
 * Covers what a GPU is, MIG, how GPUs reach each other, and events; fake_readings.c covers how a GPU is.
 *
 *   gcc -O1 -shared -fPIC -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_*.c
 *
 * Its state is the file that $FAKE_NVML names, "key=value" lines (fake_state.c). -3 as a number: not supported. Memory is
 * in bytes, power in milliwatts. What a GPU has, each as "gpu0.<key>=":
 *   uuid name cc=9.0 arch=9 bus=0000:18:00.0 persistence=1 compute_mode=0
 *   mem_total (-3: a GPU that shares the host's memory) mem_used mem_reserved
 *   busy mem_busy (percent of the time) temp power power_limit sm_clock mem_clock throttle=0x4
 *   ecc_mode=1 ecc_corr_vol ecc_uncorr_vol ecc_corr_agg ecc_uncorr_agg
 *   retired_sbe=-3 retired_dbe retired_pending remap_corr remap_uncorr remap_pending remap_failed
 *   pcie_replays nvlinks nvlink_down=3,4 nvlink_peer=1 (index of the GPU at the other end; none: a switch) nvlink_errors
 *   proc0=PID,BYTES[,KIND[,NAME]] proc1= … (KIND: compute or graphics; BYTES -3: not told)
 *   events=0x1f (types it can tell; -3: none)
 *   mig=1 (-3: cannot) mig0.uuid mig0.name mig0.mem_total mig0.mem_used mig0.gi mig0.ci mig0.slices mig0.proc0= …
 *   lost=1                     every call on that GPU: GPU_IS_LOST
 *   error.<function>=N         that function fails with error N on that GPU
 *   delay.<function>=MS        that function sleeps first on that GPU, until the key is gone
 * For the driver as a whole:
 *   driver=570.86.15 cuda=12080 count=2 topo=30 topo.0.1=10 (level of the nearest common ancestor) p2p=5
 *   error.<function>=N delay.<function>=MS   as above, for all: "error.Init=9" is a driver that is not loaded, 18 one
 *                              that does not match its library, 13 a function that an old driver lacks
 *   gone=1                     the driver was unloaded: every call but Init is UNINITIALIZED, until the next Init
 *   xid.<sequence>=GPU:CODE    the driver tells an XID; event.<sequence>=GPU:TYPE:DATA any other event
 *   scan_proc=1                processes that hold os.memfd_create("fakegpu:<uuid>:<bytes>") count too
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "fake_nvml.h"

struct nvmlEventSet_st {
    unsigned long long types[MAX_GPUS];
    long long seen;
};

static struct nvmlDevice_st devices[MAX_GPUS][MAX_INSTANCES + 1]; /* the whole GPU, then its instances */
static int references;
static long long generation; /* of the driver that Init saw: "gone" counts up */

nvmlReturn_t enter(const char *function) {
    int error = state_injected(NULL, function);
    if (error) return error;
    if (!references || state_number("gone", 0) > generation) return NVML_ERROR_UNINITIALIZED;
    return NVML_SUCCESS;
}

nvmlReturn_t enter_device(const char *function, nvmlDevice_t device) {
    if (device < &devices[0][0] || device > &devices[MAX_GPUS - 1][MAX_INSTANCES]) return NVML_ERROR_INVALID_ARGUMENT;
    int error = state_injected(device, function);
    if (error) return error;
    if (!references || state_number("gone", 0) > generation) return NVML_ERROR_UNINITIALIZED;
    return NVML_SUCCESS;
}

nvmlReturn_t give_text(const char *value, char *buffer, unsigned size) {
    if (strlen(value) + 1 > size) return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(buffer, value);
    return NVML_SUCCESS;
}

nvmlReturn_t give_number(nvmlDevice_t device, const char *key, long long otherwise, unsigned *value) {
    long long number = device_number(device, key, otherwise);
    if (number == NOT_SUPPORTED) return NVML_ERROR_NOT_SUPPORTED;
    *value = (unsigned)number;
    return NVML_SUCCESS;
}

nvmlDevice_t device_at(int index, int instance) {
    nvmlDevice_t device = &devices[index][instance + 1];
    device->index = index;
    device->instance = instance;
    return device;
}

/* --- the library and the driver --- */

nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int error = state_injected(NULL, "Init");
    if (error) return error;
    references++;
    generation = state_number("gone", 0);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

nvmlReturn_t nvmlShutdown(void) {
    if (!references) return NVML_ERROR_UNINITIALIZED;
    references--;
    return NVML_SUCCESS;
}

const char *nvmlErrorString(nvmlReturn_t error) {
    switch ((int)error) {
    case 1: return "Uninitialized";
    case 2: return "Invalid Argument";
    case 3: return "Not Supported";
    case 4: return "Insufficient Permissions";
    case 6: return "Not Found";
    case 7: return "Insufficient Size";
    case 9: return "Driver Not Loaded";
    case 10: return "Timeout";
    case 13: return "Function Not Found";
    case 15: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 18: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *buffer, unsigned size) {
    ENTER("DriverVersion");
    char value[TEXT] = "570.86.15";
    state_text("driver", value, sizeof value);
    return give_text(value, buffer, size);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    ENTER("CudaDriverVersion");
    *version = (int)state_number("cuda", 12080);
    return NVML_SUCCESS;
}

/* --- handles --- */

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    ENTER("Count");
    *count = (unsigned)state_number("count", 0);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *found) {
    ENTER("HandleByIndex");
    if (index >= MAX_GPUS || index >= (unsigned)state_number("count", 0)) return NVML_ERROR_INVALID_ARGUMENT;
    nvmlDevice_t device = device_at((int)index, WHOLE);
    ENTER_DEVICE("HandleByIndex");
    *found = device;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *found) {
    ENTER("HandleByUUID");
    long long count = state_number("count", 0);
    for (int index = 0; index < count && index < MAX_GPUS; index++)
        for (int instance = WHOLE; instance < MAX_INSTANCES; instance++) {
            nvmlDevice_t device = device_at(index, instance);
            char value[TEXT];
            if (!device_text(device, "uuid", value, sizeof value) || strcmp(value, uuid) != 0) continue;
            ENTER_DEVICE("HandleByUUID");
            *found = device;
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_FOUND;
}

/* --- what a GPU is --- */

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *buffer, unsigned size) {
    ENTER_DEVICE("UUID");
    char value[TEXT] = "GPU-0";
    device_text(device, "uuid", value, sizeof value);
    return give_text(value, buffer, size);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *buffer, unsigned size) {
    ENTER_DEVICE("Name");
    char value[TEXT] = "NVIDIA Fake";
    device_text(device, "name", value, sizeof value);
    return give_text(value, buffer, size);
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    ENTER_DEVICE("CudaComputeCapability");
    char value[TEXT] = "9.0";
    device_text(device, "cc", value, sizeof value);
    return sscanf(value, "%d.%d", major, minor) == 2 ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}

nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, nvmlDeviceArchitecture_t *architecture) {
    ENTER_DEVICE("Architecture");
    return give_number(device, "arch", 9, architecture);
}

static nvmlReturn_t give_pci(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    char value[TEXT];
    memset(pci, 0, sizeof *pci);
    if (!device_text(device, "bus", value, sizeof value)) snprintf(value, sizeof value, "0:%x:0", 0x18 + device->index);
    if (sscanf(value, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device) != 3) return NVML_ERROR_NOT_SUPPORTED;
    unsigned domain = pci->domain & 0xffff, bus = pci->bus & 0xff, slot = pci->device & 0xff;
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "%04X:%02X:%02X.0", domain, bus, slot);
    snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", domain, bus, slot);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    ENTER_DEVICE("PciInfo");
    return give_pci(device, pci);
}

nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t device, nvmlEnableState_t *mode) {
    ENTER_DEVICE("PersistenceMode");
    return give_number(device, "persistence", 1, mode);
}

nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t device, nvmlComputeMode_t *mode) {
    ENTER_DEVICE("ComputeMode");
    return give_number(device, "compute_mode", 0, mode);
}

/* --- MIG --- */

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending) {
    ENTER_DEVICE("MigMode");
    nvmlReturn_t error = give_number(device, "mig", NOT_SUPPORTED, current);
    if (!error) *pending = *current;
    return error;
}

nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count) {
    ENTER_DEVICE("MaxMigDeviceCount");
    *count = device_number(device, "mig", NOT_SUPPORTED) == NOT_SUPPORTED ? 0 : 7;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *found) {
    char uuid[TEXT];
    ENTER_DEVICE("MigDeviceHandleByIndex");
    if (index >= MAX_INSTANCES) return NVML_ERROR_INVALID_ARGUMENT;
    nvmlDevice_t instance = device_at(device->index, (int)index);
    if (device_number(device, "mig", 0) != 1 || !device_text(instance, "uuid", uuid, sizeof uuid)) return NVML_ERROR_NOT_FOUND;
    *found = instance;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *attributes) {
    ENTER_DEVICE("Attributes");
    memset(attributes, 0, sizeof *attributes);
    if (device->instance == WHOLE) return NVML_ERROR_NOT_SUPPORTED;
    attributes->gpuInstanceSliceCount = (unsigned)device_number(device, "slices", 1);
    attributes->computeInstanceSliceCount = attributes->gpuInstanceSliceCount;
    attributes->memorySizeMB = (unsigned long long)device_number(device, "mem_total", 0) >> 20;
    return NVML_SUCCESS;
}

/* --- how GPUs reach each other --- */

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned link, nvmlEnableState_t *state) {
    char value[TEXT], *rest = value, *word;
    ENTER_DEVICE("NvLinkState");
    long long links = device_number(device, "nvlinks", 0);
    if (!links) return NVML_ERROR_NOT_SUPPORTED;
    if (link >= links) return NVML_ERROR_INVALID_ARGUMENT;
    *state = 1;
    if (device_text(device, "nvlink_down", value, sizeof value))
        while ((word = strsep(&rest, ",")))
            if (*word && (unsigned)atoi(word) == link) *state = 0;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned link, nvmlPciInfo_t *pci) {
    ENTER_DEVICE("NvLinkRemotePciInfo");
    if (link >= device_number(device, "nvlinks", 0)) return NVML_ERROR_INVALID_ARGUMENT;
    long long peer = device_number(device, "nvlink_peer", -1);
    if (peer >= 0 && peer < MAX_GPUS) return give_pci(device_at((int)peer, WHOLE), pci);
    memset(pci, 0, sizeof *pci);
    snprintf(pci->busId, sizeof pci->busId, "00000000:05:00.0"); /* a switch */
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetP2PStatus(
    nvmlDevice_t device, nvmlDevice_t other, nvmlGpuP2PCapsIndex_t index, nvmlGpuP2PStatus_t *status) {
    (void)other;
    (void)index;
    ENTER_DEVICE("P2PStatus");
    *status = (nvmlGpuP2PStatus_t)state_number("p2p", device_number(device, "nvlinks", 0) ? 0 : 5);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t device, nvmlDevice_t other, nvmlGpuTopologyLevel_t *level) {
    char key[TEXT];
    ENTER_DEVICE("TopologyCommonAncestor");
    int low = device->index < other->index ? device->index : other->index;
    int high = device->index < other->index ? other->index : device->index;
    snprintf(key, sizeof key, "topo.%d.%d", low, high);
    *level = (nvmlGpuTopologyLevel_t)state_number(key, state_number("topo", 30));
    return NVML_SUCCESS;
}

/* --- events --- */

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *created) {
    ENTER("EventSetCreate");
    *created = calloc(1, sizeof **created);
    (*created)->seen = newest_event();
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    free(set);
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types) {
    ENTER_DEVICE("SupportedEventTypes");
    long long all = device_number(device, "events", 0x1f);
    if (all == NOT_SUPPORTED) return NVML_ERROR_NOT_SUPPORTED;
    *types = (unsigned long long)all;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    ENTER_DEVICE("RegisterEvents");
    long long all = device_number(device, "events", 0x1f);
    if (all == NOT_SUPPORTED || types & ~(unsigned long long)all) return NVML_ERROR_NOT_SUPPORTED;
    set->types[device->index] |= types;
    return NVML_SUCCESS;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *event, unsigned timeout_ms) {
    for (long long waited_ms = 0;; waited_ms += 200) {
        ENTER("EventSetWait");
        int index;
        unsigned long long type, data;
        for (long long next; (next = next_event(set->seen, &index, &type, &data));) {
            set->seen = next;
            if (index < 0 || index >= MAX_GPUS || !(set->types[index] & type)) continue;
            *event = (nvmlEventData_t){ .device = device_at(index, WHOLE), .eventType = type, .eventData = data };
            event->gpuInstanceId = event->computeInstanceId = (unsigned)NO_INSTANCE;
            return NVML_SUCCESS;
        }
        if (waited_ms >= timeout_ms) return NVML_ERROR_TIMEOUT;
        struct timespec pause = { 0, 200 * 1000000 };
        nanosleep(&pause, NULL);
    }
}
