#ifndef KFLOW_PYTHON_H
#define KFLOW_PYTHON_H

/* How a compiled Python module comes to the engine: see kflow.h for what it gets. */

#include <Python.h>

#include "kflow.h"

#define KFLOW_CAPSULE "kflow.c_api.C_API"

/* Returns the table of the installed kflow, which lives as long as the process; or NULL, with a
 * Python exception: ImportError if there is no kflow, or an older one than this file's. Needs the
 * interpreter's lock. Call it once, when the module is imported. */
static inline const kflow_api* kflow_import(void) {
    const kflow_api* api = (const kflow_api*)PyCapsule_Import(KFLOW_CAPSULE, 0);
    if (api != NULL && api->version < KFLOW_API_VERSION) {
        PyErr_Format(
            PyExc_ImportError,
            "this module needs version %d of kflow's C interface, and kflow %s has version "
            "%d: upgrade kflow",
            KFLOW_API_VERSION, api->kflow_version(), (int)api->version);
        return NULL;
    }
    return api;
}

#endif
