/* SPDX-License-Identifier: Apache-2.0
 *
 * CPU and memory of a process and its descendants, from /proc.
 *
 * CPU is the first field of /proc/PID/task/TID/schedstat: nanoseconds on a CPU, where stat(5) counts ticks of 10 ms.
 * The time of threads and children that have ended is not counted.
 */
#include "load.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PROCESSES_MAX = 4096 };

typedef struct {
    int pid;
    int parent;
    int is_in_tree;
} Process;

/* The text of a small file of /proc, cut to the buffer; 0 when it has gone. */
static int slurp(const char *path, char *buffer, int size) {
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int len = (int)fread(buffer, 1, size - 1, file);
    fclose(file);
    buffer[len] = 0;
    return len;
}

static int parent_of(int pid) {
    char path[64], text[1024];
    int parent;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!slurp(path, text, sizeof text)) return 0;
    char *name_end = strrchr(text, ')'); /* the name may hold anything, brackets too */
    return name_end && sscanf(name_end + 2, "%*c %d", &parent) == 1 ? parent : 0;
}

static int list_processes(Process *out) {
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int n = 0;
    if (!proc) return 0;
    while (n < PROCESSES_MAX && (entry = readdir(proc))) {
        if (!isdigit((unsigned char)entry->d_name[0])) continue;
        int pid = atoi(entry->d_name);
        out[n++] = (Process){pid, parent_of(pid), 0};
    }
    closedir(proc);
    return n;
}

static double cpu_s_of(int pid) {
    char path[320], text[128];
    struct dirent *entry;
    double total_ns = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) return 0;
    while ((entry = readdir(tasks))) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        if (slurp(path, text, sizeof text)) total_ns += strtod(text, NULL);
    }
    closedir(tasks);
    return total_ns * 1e-9;
}

static double rss_mb_of(int pid) {
    char path[64], text[128];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    if (!slurp(path, text, sizeof text) || sscanf(text, "%*d %ld", &pages) != 1) return 0;
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1048576.0;
}

Meter meter_tree(int pid) {
    static Process all[PROCESSES_MAX];
    Meter sum = {0};
    int n = pid > 0 ? list_processes(all) : 0, grew = 1;
    for (int i = 0; i < n; i++) all[i].is_in_tree = all[i].pid == pid;
    while (grew) { /* one generation a pass; trees are three deep */
        grew = 0;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n && !all[i].is_in_tree; j++)
                if (all[j].is_in_tree && all[j].pid == all[i].parent) all[i].is_in_tree = grew = 1;
    }
    for (int i = 0; i < n; i++) {
        if (!all[i].is_in_tree) continue;
        sum.cpu_s += cpu_s_of(all[i].pid);
        sum.rss_mb += rss_mb_of(all[i].pid);
        sum.processes++;
    }
    return sum;
}

double meter_own_cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}
