/* An engine in C that is not ours, as a CPython extension built against the installed headers: it knows a process of
 * two modules, one thread and a list of regions, and asks a callback about them as dbghelp does. The routine and its
 * parameter come from Python as addresses (Callback.routine, Callback.param). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <minidump_cffi/callback.h>
#include <minidump_cffi/engine.h>

static int32_t ask(MINIDUMP_CALLBACK_INFORMATION *callee, uint32_t type, MINIDUMP_CALLBACK_INPUT *input,
                   MINIDUMP_CALLBACK_OUTPUT *output) {
    input->ProcessId = 77;
    input->CallbackType = type;
    return callee->CallbackRoutine(callee->CallbackParam, input, output);
}

static void begin(MINIDUMP_CALLBACK_INFORMATION *callee) {
    MINIDUMP_CALLBACK_INPUT input = {0};
    MINIDUMP_CALLBACK_OUTPUT output = {0};
    ask(callee, MDC_CB_IS_PROCESS_SNAPSHOT, &input, &output);
    ask(callee, MDC_CB_VM_START, &input, &output);
}

static uint32_t ask_module(MINIDUMP_CALLBACK_INFORMATION *callee, const uint16_t *path, uint64_t base, uint32_t size) {
    MINIDUMP_CALLBACK_INPUT input = {0};
    MINIDUMP_CALLBACK_OUTPUT output = {0};
    input.u.Module.FullPath = path;
    input.u.Module.BaseOfImage = base;
    input.u.Module.SizeOfImage = size;
    output.ModuleWriteFlags = MDC_MODULE_WRITE_MODULE | MDC_MODULE_WRITE_CV_RECORD;
    return ask(callee, MDC_CB_MODULE, &input, &output) ? output.ModuleWriteFlags : 0;
}

/* drive(routine, param, [(base, size, type), ...]) -> ([(base, size) kept, ...], flags of the secret module) */
static PyObject *drive(PyObject *self, PyObject *args) {
    static const uint16_t secret[] = {'/', 'l', 'i', 'b', 's', 'e', 'c', 'r', 'e', 't', '.', 's', 'o', 0};
    unsigned long long routine, param;
    PyObject *regions;
    (void)self;
    if (!PyArg_ParseTuple(args, "KKO!", &routine, &param, &PyList_Type, &regions)) return NULL;
    MINIDUMP_CALLBACK_INFORMATION callee = {(MINIDUMP_CALLBACK_ROUTINE)(uintptr_t)routine, (void *)(uintptr_t)param};
    begin(&callee);
    uint32_t flags = ask_module(&callee, secret, 0x400000, 0x10000);
    PyObject *kept = PyList_New(0);
    for (Py_ssize_t i = 0; kept != NULL && i < PyList_Size(regions); i++) {
        unsigned long long base, size, type;
        if (!PyArg_ParseTuple(PyList_GetItem(regions, i), "KKK", &base, &size, &type)) return NULL;
        MINIDUMP_CALLBACK_INPUT input = {0};
        MINIDUMP_CALLBACK_OUTPUT output = {0};
        output.Region.VmRegion.BaseAddress = base;
        output.Region.VmRegion.RegionSize = size;
        output.Region.VmRegion.State = MDC_MEM_COMMIT;
        output.Region.VmRegion.Protect = MDC_PAGE_READWRITE;
        output.Region.VmRegion.Type = (uint32_t)type;
        if (!ask(&callee, MDC_CB_INCLUDE_VM_REGION, &input, &output) || !output.Region.Continue) break;
        if (output.Region.VmRegion.RegionSize == 0) continue;
        PyObject *pair = Py_BuildValue("(KK)", (unsigned long long)output.Region.VmRegion.BaseAddress,
                                       (unsigned long long)output.Region.VmRegion.RegionSize);
        if (pair == NULL || PyList_Append(kept, pair) != 0) return NULL;
        Py_DECREF(pair);
    }
    return Py_BuildValue("(NI)", kept, (unsigned int)flags);
}

/* call(routine, param, type) -> answer. Without the GIL: a hook of the callback may run. */
static PyObject *call(PyObject *self, PyObject *args) {
    unsigned long long routine, param;
    unsigned int type;
    (void)self;
    if (!PyArg_ParseTuple(args, "KKI", &routine, &param, &type)) return NULL;
    MINIDUMP_CALLBACK_INFORMATION callee = {(MINIDUMP_CALLBACK_ROUTINE)(uintptr_t)routine, (void *)(uintptr_t)param};
    MINIDUMP_CALLBACK_INPUT input = {0};
    MINIDUMP_CALLBACK_OUTPUT output = {0};
    int32_t answer;
    Py_BEGIN_ALLOW_THREADS;
    answer = ask(&callee, type, &input, &output);
    Py_END_ALLOW_THREADS;
    return PyLong_FromLong(answer);
}

/* What the headers say about the layouts, seen by this compiler. */
static PyObject *sizes(PyObject *self, PyObject *args) {
    (void)self, (void)args;
    return Py_BuildValue("{snsnsn}", "MINIDUMP_CALLBACK_INPUT", (Py_ssize_t)sizeof(MINIDUMP_CALLBACK_INPUT),
                         "MINIDUMP_CALLBACK_OUTPUT", (Py_ssize_t)sizeof(MINIDUMP_CALLBACK_OUTPUT), "mdc_engine_options",
                         (Py_ssize_t)sizeof(mdc_engine_options));
}

static PyMethodDef METHODS[] = {{"drive", drive, METH_VARARGS, NULL},
                                {"call", call, METH_VARARGS, NULL},
                                {"sizes", sizes, METH_NOARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "tiny_engine", NULL, -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_tiny_engine(void) { return PyModule_Create(&MODULE); }
