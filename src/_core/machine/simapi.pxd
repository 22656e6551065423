# What virtual.pyx says to the virtual machine (machine/simapi.h).
from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef extern from "machine/simapi.h" nogil:
    enum:
        FBV_STEPS

    struct fbv_machine:
        pass
    struct fbv_cpu_report:
        uint64_t hits, fetches, transfers, waits, wait, spin, parked
    struct fbv_line_report:
        uint64_t offset, hits, fetches, transfers, invalidated, wait
    struct fbv_log_record:
        uint64_t ps, obj, wait
        uint32_t what
        uint16_t cpu, type

    const char *const *fbv_figure_names()
    void fbv_configure(const fbv_machine *m, uint64_t seed, uint64_t log_max, uint32_t mute_from, uint32_t mute_to)
    void fbv_report_cpu(uint32_t task, fbv_cpu_report *r)
    void fbv_report_steps(uint32_t from_, uint32_t to, uint64_t *sums)
    size_t fbv_report_lines(fbv_line_report *r, size_t max)
    size_t fbv_report_log(const fbv_log_record **r)
    void fbv_release()
