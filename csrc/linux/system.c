/* Facts about the machine and the times of a process (see process.h). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "../base/fail.h"
#include "../base/shortage.h"
#include "process.h"

enum { PROCESSOR_ARCHITECTURE_AMD64 = 9, PLATFORM_LINUX = 0x8201 };

/* The value of a line "key<blanks>: value" of cpuinfo, from *at on; false at the end of the text. */
static bool next_line(const char **at, const char *end, const char **key, size_t *key_size, const char **value,
                      size_t *value_size) {
    if (*at >= end) return false;
    const char *line = *at;
    const char *stop = memchr(line, '\n', (size_t)(end - line));
    if (stop == NULL) stop = end;
    *at = stop < end ? stop + 1 : end;
    const char *colon = memchr(line, ':', (size_t)(stop - line));
    *key = line;
    *value = colon != NULL ? colon + 1 : stop;
    const char *key_end = colon != NULL ? colon : stop;
    while (key_end > line && (key_end[-1] == ' ' || key_end[-1] == '\t')) key_end--;
    while (*value < stop && **value == ' ') ++*value;
    *key_size = (size_t)(key_end - line);
    *value_size = (size_t)(stop - *value);
    return true;
}

static bool is_key(const char *key, size_t size, const char *name) {
    return size == strlen(name) && memcmp(key, name, size) == 0;
}

static uint32_t decimal(const char *text, size_t size) {
    uint32_t sum = 0;
    for (size_t i = 0; i < size && text[i] >= '0' && text[i] <= '9' && sum < 100000000; i++)
        sum = sum * 10 + (uint32_t)(text[i] - '0');
    return sum;
}

/* Values of the first processor; how many there are. */
static uint32_t parse_cpuinfo(mdc_system *system, const char *text, size_t size) {
    const char *at = text, *key, *value;
    size_t key_size, value_size;
    uint32_t processors = 0, family = 0, model = 0, stepping = 0;
    while (next_line(&at, text + size, &key, &key_size, &value, &value_size)) {
        if (is_key(key, key_size, "processor")) processors++;
        if (processors != 1) continue;
        if (is_key(key, key_size, "cpu family")) family = decimal(value, value_size);
        if (is_key(key, key_size, "model")) model = decimal(value, value_size);
        if (is_key(key, key_size, "stepping")) stepping = decimal(value, value_size);
        if (is_key(key, key_size, "vendor_id"))
            memcpy(system->vendor, value, value_size < sizeof system->vendor ? value_size : sizeof system->vendor);
    }
    system->level = (uint16_t)family;
    system->revision = (uint16_t)((model & 0xFF) << 8 | (stepping & 0xFF));
    return processors;
}

static void read_processor(mdc_system *system, const uint8_t *cpuinfo, size_t size) {
    uint32_t processors = size > 0 ? parse_cpuinfo(system, (const char *)cpuinfo, size) : 0;
    long online = processors == 0 ? sysconf(_SC_NPROCESSORS_ONLN) : 0;
    if (processors == 0 && online > 0) processors = online > 255 ? 255 : (uint32_t)online;
    system->processors = (uint8_t)(processors > 255 ? 255 : processors);
#if defined(__x86_64__) || defined(__i386__)
    unsigned eax, ebx, ecx, edx;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) {
        system->version_information = eax;
        system->feature_information = edx;
    }
#endif
}

/* Returns what follows the number. */
static const char *parse_release(mdc_system *system, const char *release) {
    uint32_t parts[3] = {0, 0, 0};
    const char *at = release;
    for (int i = 0; i < 3; i++) {
        parts[i] = decimal(at, strlen(at));
        while (*at >= '0' && *at <= '9') at++;
        if (i == 2 || at[0] != '.' || at[1] < '0' || at[1] > '9') break;
        at++;
    }
    system->major = parts[0];
    system->minor = parts[1];
    system->build = parts[2];
    return at;
}

static uint32_t seconds(uint64_t ticks, uint64_t per_second) {
    uint64_t whole = ticks / per_second;
    return whole > UINT32_MAX ? UINT32_MAX : (uint32_t)whole;
}

mdc_status mdc_system_read(mdc_system *system, mdc_mappings *pool_owner, const uint8_t *cpuinfo, size_t size,
                           mdc_error *err) {
    memset(system, 0, sizeof *system);
    system->architecture = PROCESSOR_ARCHITECTURE_AMD64;
    system->platform = PLATFORM_LINUX;
    struct utsname name;
    if (uname(&name) == 0) {
        char line[sizeof name];
        const char *rest = parse_release(system, name.release);
        snprintf(line, sizeof line, "%s %s %s %s", name.sysname, name.release, name.version, name.machine);
        if (mdc_mappings_intern(pool_owner, line, strlen(line), &system->version, err) != MDC_OK) return err->code;
        /* As Crashpad's CSDVersion. */
        snprintf(line, sizeof line, "%s%s%s %s", rest, rest[0] != 0 ? " " : "", name.version, name.machine);
        if (mdc_mappings_intern(pool_owner, line, strlen(line), &system->csd_version, err) != MDC_OK) return err->code;
    }
    read_processor(system, cpuinfo, size);
    return MDC_OK;
}

void mdc_system_times(mdc_system *system, const mdc_process_stat *stat) {
    long clock = sysconf(_SC_CLK_TCK);
    uint64_t per_second = clock > 0 ? (uint64_t)clock : 100;
    system->user_time_s = seconds(stat->user_ticks, per_second);
    system->kernel_time_s = seconds(stat->kernel_ticks, per_second);
    /* start_time counts from boot; when that was follows from the two clocks. */
    struct timespec now, up;
    if (clock_gettime(CLOCK_REALTIME, &now) == 0 && clock_gettime(CLOCK_BOOTTIME, &up) == 0 && now.tv_sec > up.tv_sec)
        system->create_time_s = (uint64_t)(now.tv_sec - up.tv_sec) + stat->start_time / per_second;
}
