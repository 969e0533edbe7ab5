/* A libcuda.so.1 for tests, with the functions that the health check calls and no GPU behind them: memory is malloc, and a
 * launch adds the two vectors, whatever the kernel says.
 *
 *   gcc -O1 -shared -fPIC -Wl,-soname,libcuda.so.1 -o libcuda.so.1 fake_cuda.c
 *
 * Its state is the file that $FAKE_CUDA names, or else $FAKE_NVML (tests/rig/nvml): "key=value" lines, read again on every
 * call. It shows the one GPU that $CUDA_VISIBLE_DEVICES names, when the file has it and it is not lost.
 *   count=2   gpu0.uuid=   gpu0.lost=1
 *   error.<function>=N    that function returns error N: "error.cuCtxCreate_v2=46"
 *   delay.<function>=MS   that function sleeps first: a GPU that hangs
 *   cuda.wrong=N          the first N sums are wrong
 *   cuda.crash=1          a launch kills the process
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_CONTEXT = 201, TEXT = 128 };

typedef int Result;

static int is_begun;
static void *current;

static int text_of(const char *key, char *value, size_t size) {
    const char *path = getenv("FAKE_CUDA") ? getenv("FAKE_CUDA") : getenv("FAKE_NVML");
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

/* What every function does first: hang, fail, or refuse because nothing was begun. */
static Result enter(const char *function, int needs_context) {
    char key[TEXT];
    snprintf(key, sizeof key, "delay.%s", function);
    long long delay_ms = number_of(key, 0);
    struct timespec pause = { delay_ms / 1000, delay_ms % 1000 * 1000000 };
    if (delay_ms) nanosleep(&pause, NULL);
    snprintf(key, sizeof key, "error.%s", function);
    Result error = (Result)number_of(key, SUCCESS);
    if (error) return error;
    return needs_context && !current ? INVALID_CONTEXT : SUCCESS;
}

static int is_visible(void) {
    const char *wanted = getenv("CUDA_VISIBLE_DEVICES");
    char key[TEXT], value[TEXT];
    for (int index = 0; wanted && index < number_of("count", 0); index++) {
        snprintf(key, sizeof key, "gpu%d.uuid", index);
        if (!text_of(key, value, sizeof value) || strcmp(value, wanted) != 0) continue;
        snprintf(key, sizeof key, "gpu%d.lost", index);
        return !number_of(key, 0);
    }
    return 0;
}

Result cuInit(unsigned flags) {
    (void)flags;
    Result error = enter("cuInit", 0);
    if (error) return error;
    if (!is_visible()) return NO_DEVICE;
    is_begun = 1;
    return SUCCESS;
}

Result cuGetErrorName(Result error, const char **name) {
    switch (error) {
    case 2: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case 46: *name = "CUDA_ERROR_DEVICE_UNAVAILABLE"; break;
    case NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; break;
    case 719: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    case 999: *name = "CUDA_ERROR_UNKNOWN"; break;
    default: *name = NULL; return INVALID_VALUE;
    }
    return SUCCESS;
}

Result cuDeviceGet(int *device, int ordinal) {
    Result error = enter("cuDeviceGet", 0);
    if (error) return error;
    if (!is_begun) return NOT_INITIALIZED;
    *device = ordinal;
    return ordinal ? INVALID_VALUE : SUCCESS;
}

Result cuCtxCreate_v2(void **context, unsigned flags, int device) {
    (void)flags, (void)device;
    Result error = enter("cuCtxCreate_v2", 0);
    if (!error) *context = current = malloc(1);
    return error;
}

Result cuCtxDestroy_v2(void *context) {
    Result error = enter("cuCtxDestroy_v2", 1);
    if (error) return error;
    free(context);
    current = NULL;
    return SUCCESS;
}

Result cuMemAlloc_v2(uint64_t *address, size_t size) {
    Result error = enter("cuMemAlloc_v2", 1);
    if (!error) *address = (uint64_t)(uintptr_t)calloc(1, size);
    return error;
}

Result cuMemFree_v2(uint64_t address) {
    Result error = enter("cuMemFree_v2", 1);
    if (!error) free((void *)(uintptr_t)address);
    return error;
}

Result cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size) {
    Result error = enter("cuMemcpyHtoD_v2", 1);
    if (!error) memcpy((void *)(uintptr_t)to, from, size);
    return error;
}

Result cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size) {
    Result error = enter("cuMemcpyDtoH_v2", 1);
    if (!error) memcpy(to, (void *)(uintptr_t)from, size);
    return error;
}

Result cuModuleLoadData(void **module, const void *image) {
    Result error = enter("cuModuleLoadData", 1);
    if (!error) *module = strstr(image, ".entry add(") ? (void *)image : NULL;
    return error ? error : *module ? SUCCESS : 218;
}

Result cuModuleGetFunction(void **function, void *module, const char *name) {
    Result error = enter("cuModuleGetFunction", 1);
    if (error) return error;
    *function = module;
    return strcmp(name, "add") ? 500 : SUCCESS;
}

Result cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void *stream, void **parameters, void **extra) {
    (void)function, (void)shared, (void)stream, (void)extra;
    Result error = enter("cuLaunchKernel", 1);
    if (error) return error;
    if (number_of("cuda.crash", 0)) abort();
    uint32_t *a = (uint32_t *)(uintptr_t)*(uint64_t *)parameters[0], *b = (uint32_t *)(uintptr_t)*(uint64_t *)parameters[1];
    uint32_t *c = (uint32_t *)(uintptr_t)*(uint64_t *)parameters[2], n = *(uint32_t *)parameters[3];
    uint64_t threads = (uint64_t)gx * gy * gz * bx * by * bz;
    for (uint32_t index = 0; index < n && index < threads; index++) c[index] = a[index] + b[index];
    for (long long index = 0; index < number_of("cuda.wrong", 0); index++) c[index] ^= 1;
    return SUCCESS;
}

Result cuCtxSynchronize(void) { return enter("cuCtxSynchronize", 1); }
