/* The description of a region for a callee (see describe.h). */
#include "describe.h"

MINIDUMP_MEMORY_INFO mdc_describe_info(const mdc_region *region) {
    return (MINIDUMP_MEMORY_INFO){.BaseAddress = region->base,
                                  .AllocationBase = region->alloc_base,
                                  .AllocationProtect =
                                      region->alloc_protect != 0 ? region->alloc_protect : region->protect,
                                  .RegionSize = region->size,
                                  .State = region->state,
                                  .Protect = region->state == MDC_MEM_COMMIT ? region->protect : 0,
                                  .Type = region->type};
}

void mdc_describe_facts(const mdc_region *region, const uint8_t *pool, mdc_name name, mdc_region_facts *facts) {
    facts->Size = sizeof *facts;
    facts->Version = 1;
    facts->MappingBase = region->base;
    facts->MappingSize = region->size;
    facts->Name = region->name_id != 0 ? pool + name.offset : NULL;
    facts->NameSize = region->name_id != 0 ? name.size : 0;
    facts->NameId = region->name_id;
    facts->Kinds = region->kinds;
    facts->Flags = region->facts;
    facts->FileOffset = region->file_offset;
    facts->Inode = region->inode;
    facts->DevMajor = region->dev_major;
    facts->DevMinor = region->dev_minor;
    facts->ResidentBytes = region->resident;
}
