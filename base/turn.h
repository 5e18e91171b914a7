#ifndef SN_BASE_TURN_H
#define SN_BASE_TURN_H
/* Several threads, one thing that only one of them may use at a time and that all want for long: a lock
 * that is handed on in order of asking, and shared by time rather than by how often it is taken. */

#include "base/diag.h"

struct sn_turn;

int sn_turn_new(struct sn_turn **out, struct sn_diag *d);
void sn_turn_free(struct sn_turn **tp); /* nobody has it or waits for it */

/* Waits. Whoever has it may take it again, and gives it back as often. */
void sn_turn_take(struct sn_turn *t);
void sn_turn_give(struct sn_turn *t);
/* For the holder, between two pieces of its work: where somebody waits, and this turn has been as long as the
 * one before it (within bounds: 5 to 200 ms), the next in line goes first and this one queues again. Costs
 * next to nothing where nobody waits. */
void sn_turn_pass(struct sn_turn *t);

#endif
