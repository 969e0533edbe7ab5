/* What the two halves of the fake library share: NVML's own types, and the state that a test writes.
 *
 * With -DNVML_H_CHECK the types come from NVIDIA's header, so that the compiler compares our prototypes with NVIDIA's.
 */
#ifndef FAKE_NVML_H
#define FAKE_NVML_H
#include <stddef.h>

#ifdef NVML_H_CHECK
#define NVML_NO_UNVERSIONED_FUNC_DEFS
#include <nvml.h>
#else
typedef enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_TIMEOUT = 10,
    NVML_ERROR_GPU_IS_LOST = 15,
    NVML_ERROR_ARGUMENT_VERSION_MISMATCH = 25,
} nvmlReturn_t;
typedef struct nvmlDevice_st *nvmlDevice_t;
typedef struct nvmlEventSet_st *nvmlEventSet_t;
typedef unsigned nvmlEnableState_t, nvmlTemperatureSensors_t, nvmlMemoryErrorType_t, nvmlEccCounterType_t;
typedef unsigned nvmlComputeMode_t, nvmlClockType_t, nvmlGpuTopologyLevel_t, nvmlGpuP2PStatus_t, nvmlGpuP2PCapsIndex_t;
typedef unsigned nvmlDeviceArchitecture_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } nvmlMemory_v2_t;
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
typedef struct {
    char busIdLegacy[16];
    unsigned domain, bus, device, pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;
typedef struct {
    unsigned pid;
    unsigned long long usedGpuMemory;
    unsigned gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_t;
typedef struct {
    nvmlDevice_t device;
    unsigned long long eventType, eventData;
    unsigned gpuInstanceId, computeInstanceId;
} nvmlEventData_t;
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    unsigned valueType;
    nvmlReturn_t nvmlReturn;
    union { double dVal; unsigned uiVal; unsigned long ulVal; unsigned long long ullVal; } value;
} nvmlFieldValue_t;
typedef struct {
    unsigned multiprocessorCount, sharedCopyEngineCount, sharedDecoderCount, sharedEncoderCount, sharedJpegCount;
    unsigned sharedOfaCount, gpuInstanceSliceCount, computeInstanceSliceCount;
    unsigned long long memorySizeMB;
} nvmlDeviceAttributes_t;
#endif

enum { MAX_GPUS = 64, MAX_INSTANCES = 8, TEXT = 256 };
enum { WHOLE = -1, NO_INSTANCE = -1 }; /* a GPU that is not a MIG instance */
enum { NOT_SUPPORTED = -3 };           /* as a number of the state */

struct nvmlDevice_st {
    int index, instance;
};

/* State: `state_text` gives 0 when the key is not there. */
int state_text(const char *key, char *value, size_t size);
long long state_number(const char *key, long long otherwise);

/* The same for "gpu<index>.<name>", or "gpu<index>.mig<instance>.<name>" of a MIG instance. */
int device_text(nvmlDevice_t device, const char *name, char *value, size_t size);
long long device_number(nvmlDevice_t device, const char *name, long long otherwise);

/* What every function does first: hang, or fail, as the state says for all GPUs (device 0) or for this one. */
int state_injected(nvmlDevice_t device, const char *function);

/* Calls `found` with the process id and the bytes of each process that holds memory of the GPU with this UUID. */
typedef void (*ProcessFound)(void *context, unsigned pid, unsigned long long bytes);
void scan_processes(const char *uuid, ProcessFound found, void *context);

/* The oldest event after `sequence`: its own sequence, 0 when there is none. */
long long next_event(long long sequence, int *index, unsigned long long *type, unsigned long long *data);
long long newest_event(void);

/* Whether there is a driver at all, and then what was injected. */
nvmlReturn_t enter(const char *function);
nvmlReturn_t enter_device(const char *function, nvmlDevice_t device);

#define ENTER(function) \
    do { \
        nvmlReturn_t error_ = enter(function); \
        if (error_) return error_; \
    } while (0)
#define ENTER_DEVICE(function) \
    do { \
        nvmlReturn_t error_ = enter_device(function, device); \
        if (error_) return error_; \
    } while (0)

nvmlReturn_t give_text(const char *value, char *buffer, unsigned size);
nvmlReturn_t give_number(nvmlDevice_t device, const char *key, long long otherwise, unsigned *value);
nvmlDevice_t device_at(int index, int instance);
#endif
