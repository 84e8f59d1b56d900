/* tally.h - metrics that count: functions of sums over the whole epoch.
 *
 * X(name, target, parameters): `target` as in metrics.h. The functions of a row in tally.c describe
 * its state, from which Python computes the metric.
 */
#pragma once

// clang-format off
#define CDL_TALLIES(X)                                                      \
    X(confusion,      VALUES,  "top_k,class_id,by_label,from_logits")       \
    X(even_confusion, VALUES,  "top_k,class_id,by_label,from_logits")       \
    X(class_matrix,   VALUES,  "classes,ignored,whole,threshold")           \
    X(one_hot_matrix, VALUES,  "classes,ignored,whole")                     \
    X(number_matrix,  NUMBERS, "classes,ignored,whole")                     \
    X(f_score,        VALUES,  "threshold")                                 \
    X(r2_score,       VALUES,  "")
// clang-format on

#define CDL_TALLY_NUMBER(NAME, ...) CDL_TALLY_##NAME,
enum cdl_tally { CDL_TALLIES(CDL_TALLY_NUMBER) CDL_N_TALLIES };
