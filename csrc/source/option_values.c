/* Values of options (see option_values.h). */
#include "option_values.h"

#include <string.h>

enum { OPTION_MAX = 256 }; /* bytes of the name of an option; a longer one is none */

/* Whether the name of an option, without its dashes, is one of a variable that is dropped, as it is or in capitals: -
 * counts as _. */
static bool drops_option(const mdc_options *options, const uint8_t *name, size_t size) {
    uint8_t as_variable[OPTION_MAX];
    while (size > 0 && *name == '-') name++, size--;
    if (size == 0 || size > sizeof as_variable) return false;
    for (size_t i = 0; i < size; i++) as_variable[i] = name[i] == '-' ? '_' : name[i];
    if (options->drops(options->context, as_variable, size)) return true;
    for (size_t i = 0; i < size; i++)
        if (as_variable[i] >= 'a' && as_variable[i] <= 'z') as_variable[i] = (uint8_t)(as_variable[i] - 'a' + 'A');
    return options->drops(options->context, as_variable, size);
}

mdc_option_value mdc_options_take(mdc_options *options, const uint8_t *text, size_t size) {
    const uint8_t *equals = memchr(text, '=', size);
    mdc_option_value value = {size, size};
    if (equals != NULL && drops_option(options, text, (size_t)(equals - text)))
        value.first = value.assigned = (size_t)(equals - text) + 1;
    bool long_option = size >= 2 && text[0] == '-' && text[1] == '-';
    if (options->wanted && !long_option) value.first = 0;
    options->wanted = equals == NULL && size > 0 && text[0] == '-' && drops_option(options, text, size);
    return value;
}
