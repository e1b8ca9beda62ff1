/* PE headers (see pe_image.h). Offsets are those of "PE Format": DOS header, COFF header, optional header, directories.
 */
#include "pe_image.h"

#include <string.h>

enum {
    DOS_BYTES = 64,
    DOS_LFANEW = 60,
    NT_BYTES = 24, /* signature and COFF header */
    OPTIONAL_BYTES = 240,
    SECTION_BYTES = 40,
    OPTIONAL_MIN = 72, /* up to CheckSum and a little more, the same in PE32 and PE32+ */
    MAGIC_PE32 = 0x10B,
    MAGIC_PE32_PLUS = 0x20B,
    DIRECTORY_RESOURCE = 2,
    DIRECTORY_DEBUG = 6,
    DIRECTORIES_MAX = 16,
    DEBUG_BYTES = 28,
    DEBUG_MAX = 64,
    DEBUG_CODEVIEW = 2,
    CODEVIEW_RSDS = 0x53445352,
    CODEVIEW_NB10 = 0x3031424E,
    RSDS_FIXED = 24,
    NB10_FIXED = 16,
    RESOURCE_BYTES = 16,
    RESOURCE_ENTRY = 8,
    RESOURCE_MAX = 4096, /* entries of one directory */
    RT_VERSION_ID = 16,
    VERSION_MAGIC = 0xFEEF04BD
};

static const uint32_t nt_signature = 0x4550;      /* "PE\0\0" */
static const uint32_t subdirectory = 0x80000000u; /* in an entry's offset; in its name: a string, no number */

typedef struct pe_reader {
    mdc_pe_read read;
    void *context;
    uint64_t limit;
} pe_reader;

static uint16_t get_u16(const uint8_t *bytes) {
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static uint32_t get_u32(const uint8_t *bytes) {
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static bool get(const pe_reader *pe, uint64_t offset, void *out, size_t size) {
    return size <= pe->limit && offset <= pe->limit - size && pe->read(pe->context, offset, out, size);
}

/* The length of the text at the end of a record, with its NUL; 0 if it has none. */
static size_t text_size(const uint8_t *text, size_t room) {
    const uint8_t *nul = memchr(text, 0, room);
    return nul != NULL ? (size_t)(nul - text) + 1 : 0;
}

static void read_codeview(const pe_reader *pe, mdc_pe_image *image, uint32_t rva, uint32_t size) {
    size_t room = size < sizeof image->codeview ? size : sizeof image->codeview;
    if (room < NB10_FIXED || !get(pe, rva, image->codeview, room)) return;
    uint32_t signature = get_u32(image->codeview);
    size_t fixed = signature == CODEVIEW_RSDS ? RSDS_FIXED : signature == CODEVIEW_NB10 ? NB10_FIXED : room;
    if (fixed >= room) return;
    size_t text = text_size(image->codeview + fixed, room - fixed);
    if (text != 0) image->codeview_size = fixed + text;
}

static void read_debug(const pe_reader *pe, mdc_pe_image *image, uint32_t rva, uint32_t size) {
    uint32_t count = size / DEBUG_BYTES;
    for (uint32_t i = 0; i < count && i < DEBUG_MAX && image->codeview_size == 0; i++) {
        uint8_t entry[DEBUG_BYTES];
        if (!get(pe, (uint64_t)rva + i * DEBUG_BYTES, entry, sizeof entry)) return;
        /* An address of 0: the record is in the file only. */
        if (get_u32(entry + 12) == DEBUG_CODEVIEW && get_u32(entry + 20) != 0)
            read_codeview(pe, image, get_u32(entry + 20), get_u32(entry + 16));
    }
}

/* The entry of a resource directory with this number, or the first one if `id` is 0: its offset, 0 if there is none. */
static uint32_t resource_entry(const pe_reader *pe, uint64_t resources, uint32_t directory, uint32_t id) {
    uint8_t head[RESOURCE_BYTES], entry[RESOURCE_ENTRY];
    if (!get(pe, resources + directory, head, sizeof head)) return 0;
    uint32_t count = (uint32_t)get_u16(head + 12) + get_u16(head + 14);
    for (uint32_t i = 0; i < count && i < RESOURCE_MAX; i++) {
        if (!get(pe, resources + directory + RESOURCE_BYTES + (uint64_t)i * RESOURCE_ENTRY, entry, sizeof entry))
            return 0;
        if (id == 0 || get_u32(entry) == id) return get_u32(entry + 4);
    }
    return 0;
}

/* Type, name, language: three directories, no more, so a circle leads nowhere. Then the address of VS_VERSIONINFO, in
 * which VS_FIXEDFILEINFO follows a text of fixed length: 6 bytes, "VS_VERSION_INFO" with its NUL, up to 4. */
static void read_version(const pe_reader *pe, mdc_pe_image *image, uint32_t rva) {
    uint32_t type = resource_entry(pe, rva, 0, RT_VERSION_ID);
    if ((type & subdirectory) == 0) return;
    uint32_t name = resource_entry(pe, rva, type & ~subdirectory, 0);
    if ((name & subdirectory) == 0) return;
    uint32_t leaf = resource_entry(pe, rva, name & ~subdirectory, 0);
    uint8_t data[8], info[40 + sizeof image->version];
    if (leaf == 0 || (leaf & subdirectory) != 0 || !get(pe, (uint64_t)rva + leaf, data, sizeof data)) return;
    if (get_u32(data + 4) < sizeof info || !get(pe, get_u32(data), info, sizeof info)) return;
    if (get_u32(info + 40) == VERSION_MAGIC) memcpy(image->version, info + 40, sizeof image->version);
}

bool mdc_pe_image_read(mdc_pe_image *image, mdc_pe_read read, void *context, uint64_t limit) {
    pe_reader pe = {read, context, limit};
    uint8_t dos[DOS_BYTES], nt[NT_BYTES], optional[OPTIONAL_BYTES] = {0};
    memset(image, 0, sizeof *image);
    if (!get(&pe, 0, dos, sizeof dos) || dos[0] != 'M' || dos[1] != 'Z') return false;
    uint64_t at = get_u32(dos + DOS_LFANEW);
    if (!get(&pe, at, nt, sizeof nt) || get_u32(nt) != nt_signature) return false;
    size_t optional_size = get_u16(nt + 20);
    if (optional_size > sizeof optional) optional_size = sizeof optional;
    if (optional_size < OPTIONAL_MIN || !get(&pe, at + NT_BYTES, optional, optional_size)) return false;
    uint16_t magic = get_u16(optional);
    if (magic != MAGIC_PE32 && magic != MAGIC_PE32_PLUS) return false;
    image->machine = get_u16(nt + 4);
    image->timestamp = get_u32(nt + 8);
    image->wide = magic == MAGIC_PE32_PLUS;
    image->size = get_u32(optional + 56);
    image->checksum = get_u32(optional + 64);
    if (image->size < pe.limit) pe.limit = image->size;

    size_t first = image->wide ? 112 : 96;
    uint32_t count = optional_size >= first ? get_u32(optional + first - 4) : 0;
    if (count > DIRECTORIES_MAX) count = DIRECTORIES_MAX;
    if (count > (optional_size - (count > 0 ? first : 0)) / 8) count = (uint32_t)((optional_size - first) / 8);
    const uint8_t *directories = optional + first;
    if (count > DIRECTORY_DEBUG && get_u32(directories + 8 * DIRECTORY_DEBUG) != 0)
        read_debug(&pe, image, get_u32(directories + 8 * DIRECTORY_DEBUG),
                   get_u32(directories + 8 * DIRECTORY_DEBUG + 4));
    if (count > DIRECTORY_RESOURCE && get_u32(directories + 8 * DIRECTORY_RESOURCE) != 0)
        read_version(&pe, image, get_u32(directories + 8 * DIRECTORY_RESOURCE));
    return true;
}

size_t mdc_pe_sections_read(mdc_pe_section *sections, mdc_pe_read read, void *context, uint64_t limit) {
    pe_reader pe = {read, context, limit};
    uint8_t dos[DOS_BYTES], nt[NT_BYTES], header[SECTION_BYTES];
    size_t found = 0;
    if (!get(&pe, 0, dos, sizeof dos)) return 0;
    uint64_t at = get_u32(dos + DOS_LFANEW);
    if (!get(&pe, at, nt, sizeof nt)) return 0;
    uint16_t count = get_u16(nt + 6);
    at += NT_BYTES + (uint64_t)get_u16(nt + 20);
    for (uint16_t i = 0; i < count && found < MDC_PE_SECTIONS_MAX && get(&pe, at, header, sizeof header); i++) {
        mdc_pe_section section = {
            .rva = get_u32(header + 12), .size = get_u32(header + 8), .flags = get_u32(header + 36)};
        if (section.size == 0) section.size = get_u32(header + 16); /* SizeOfRawData, as the loader does */
        at += SECTION_BYTES;
        if (section.rva >= limit) continue;
        if (section.size > limit - section.rva) section.size = (uint32_t)(limit - section.rva);
        if (section.size != 0) sections[found++] = section;
    }
    return found;
}
