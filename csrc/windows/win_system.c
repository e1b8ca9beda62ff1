/* Processor, Windows version, times (see win_system.h). */
#include "win_system.h"

#include <string.h>
#include <windows.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

/* IsProcessorFeaturePresent numbers that fit into MINIDUMP_SYSTEM_INFO. */
enum { FEATURES_MAX = 128 };

static uint64_t filetime(FILETIME time) { return (uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime; }

static void read_processor(mdc_system *system) {
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    system->architecture = info.wProcessorArchitecture;
    system->level = info.wProcessorLevel;
    system->revision = info.wProcessorRevision;
    system->processors = (uint8_t)(info.dwNumberOfProcessors > 255 ? 255 : info.dwNumberOfProcessors);
    for (DWORD i = 0; i < FEATURES_MAX; i++)
        if (IsProcessorFeaturePresent(i)) system->processor_features[i / 64] |= UINT64_C(1) << i % 64;
#if defined(__x86_64__) || defined(__i386__)
    unsigned eax, ebx, ecx, edx;
    if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) != 0) {
        system->vendor[0] = ebx;
        system->vendor[1] = edx;
        system->vendor[2] = ecx;
    }
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0) {
        system->version_information = eax;
        system->feature_information = edx;
    }
#endif
}

/* RtlGetVersion and not GetVersionEx, which depends on the manifest of our program. */
static void read_version(mdc_system *system, const mdc_win_nt *nt) {
    OSVERSIONINFOEXW version;
    memset(&version, 0, sizeof version);
    version.dwOSVersionInfoSize = sizeof version;
    system->platform = MDC_PLATFORM_WINDOWS;
    if (nt->get_version == NULL || nt->get_version(&version) < 0) return;
    system->major = version.dwMajorVersion;
    system->minor = version.dwMinorVersion;
    system->build = version.dwBuildNumber;
    system->product_type = version.wProductType;
    system->suite_mask = version.wSuiteMask;
}

void mdc_win_system_read(mdc_system *system, void *process, const mdc_win_nt *nt) {
    const uint64_t second = 10000000, unix_epoch = UINT64_C(11644473600); /* of FILETIME; seconds from 1601 to 1970 */
    FILETIME created, ended, kernel, user;
    memset(system, 0, sizeof *system);
    read_processor(system);
    read_version(system, nt);
    if (!GetProcessTimes(process, &created, &ended, &kernel, &user)) return;
    uint64_t created_s = filetime(created) / second;
    system->create_time_s = created_s > unix_epoch ? created_s - unix_epoch : 0;
    system->user_time_s = (uint32_t)(filetime(user) / second);
    system->kernel_time_s = (uint32_t)(filetime(kernel) / second);
}
