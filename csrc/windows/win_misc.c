/* MiscInfo (see win_system.h). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <windows.h>

#include "../format/minidump_file.h"
#include "win_system.h"

enum {
    PROCESS_EXECUTE_FLAGS = 34, /* PROCESSINFOCLASS */
    PROCESSOR_INFORMATION = 11, /* POWER_INFORMATION_LEVEL */
    TOKEN_INTEGRITY = 25,       /* TOKEN_INFORMATION_CLASS */
    PROCESSORS_MAX = 256,
    SUBAUTHORITIES_MAX = 15
};

/* Of ntdll.dll, as powrprof.dll and advapi32.dll would call them: those libraries are not loaded for it. */
typedef int32_t(WINAPI *power_information)(int level, void *in, ULONG in_size, void *out, ULONG out_size);
typedef int32_t(WINAPI *open_token)(HANDLE process, ACCESS_MASK access, HANDLE *token);
typedef int32_t(WINAPI *query_token)(HANDLE token, int what, void *out, ULONG size, ULONG *size_out);

/* PROCESSOR_POWER_INFORMATION */
typedef struct processor_power {
    uint32_t number, max_mhz, current_mhz, mhz_limit, max_idle_state, current_idle_state;
} processor_power;

static void read_power(mdc_misc *misc) {
    power_information ask = (power_information)mdc_win_function_of("ntdll.dll", "NtPowerInformation");
    processor_power processors[PROCESSORS_MAX];
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    /* The buffer has to be as long as there are processors in the group. */
    ULONG size = (ULONG)sizeof processors[0] *
                 (info.dwNumberOfProcessors < PROCESSORS_MAX ? info.dwNumberOfProcessors : PROCESSORS_MAX);
    if (ask == NULL || ask(PROCESSOR_INFORMATION, NULL, 0, processors, size) < 0) return;
    misc->flags |= MDC_MISC_POWER_INFO;
    misc->max_mhz = processors[0].max_mhz;
    misc->current_mhz = processors[0].current_mhz;
    misc->mhz_limit = processors[0].mhz_limit;
    misc->max_idle_state = processors[0].max_idle_state;
    misc->current_idle_state = processors[0].current_idle_state;
}

/* The last part of the token's mandatory label: S-1-16-LEVEL. */
static void read_integrity(mdc_misc *misc, void *process) {
    open_token open = (open_token)mdc_win_function_of("ntdll.dll", "NtOpenProcessToken");
    query_token query = (query_token)mdc_win_function_of("ntdll.dll", "NtQueryInformationToken");
    union {
        TOKEN_MANDATORY_LABEL label;
        uint8_t room[sizeof(TOKEN_MANDATORY_LABEL) + sizeof(SID) + SUBAUTHORITIES_MAX * sizeof(DWORD)];
    } told;
    HANDLE token = NULL;
    ULONG size;
    if (open == NULL || query == NULL || open(process, TOKEN_QUERY, &token) < 0) return;
    if (query(token, TOKEN_INTEGRITY, &told, sizeof told, &size) >= 0) {
        const SID *sid = told.label.Label.Sid;
        if (sid->SubAuthorityCount != 0) {
            misc->flags |= MDC_MISC_PROCESS_INTEGRITY;
            misc->integrity_level = sid->SubAuthority[sid->SubAuthorityCount - 1];
        }
    }
    CloseHandle(token);
}

void mdc_win_misc_read(mdc_misc *misc, void *process, const mdc_win_nt *nt) {
    TIME_ZONE_INFORMATION zone;
    memset(misc, 0, sizeof *misc);
    read_power(misc);
    read_integrity(misc, process);
    uint32_t flags = 0;
    if (nt->query_process != NULL &&
        nt->query_process(process, PROCESS_EXECUTE_FLAGS, &flags, sizeof flags, NULL) >= 0) {
        misc->flags |= MDC_MISC_PROCESS_EXECUTE_FLAGS;
        misc->execute_flags = flags;
    }
    DWORD id = GetTimeZoneInformation(&zone);
    if (id == TIME_ZONE_ID_INVALID) return;
    _Static_assert(sizeof zone == sizeof misc->time_zone, "TIME_ZONE_INFORMATION");
    misc->flags |= MDC_MISC_TIMEZONE;
    misc->time_zone_id = id;
    memcpy(misc->time_zone, &zone, sizeof zone);
}

mdc_status mdc_win_misc_build(mdc_misc *misc, const mdc_vec *modules, mdc_win_names *names, mdc_error *err) {
    uint64_t base = (uint64_t)(uintptr_t)GetModuleHandleA("kernel32.dll");
    for (size_t i = 0; i < modules->count; i++) {
        const mdc_module *module = &mdc_vec_at(modules, const mdc_module, i);
        const uint32_t *version = module->version; /* VS_FIXEDFILEINFO: FileVersionMS and LS are words 2 and 3 */
        char text[64];
        if (module->base != base || version[0] == 0) continue;
        int size = snprintf(text, sizeof text, "%" PRIu32 ".%" PRIu32 ".%" PRIu32 ".%" PRIu32, version[2] >> 16,
                            version[2] & 0xFFFF, version[3] >> 16, version[3] & 0xFFFF);
        return mdc_win_names_put(names, text, (size_t)size, &misc->build_string, err);
    }
    return MDC_OK;
}
