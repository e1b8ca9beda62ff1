#include "source.h"

void mdc_source_drop(mdc_source **slot) {
    if (*slot != NULL) (*slot)->ops->free(*slot);
    *slot = NULL;
}
