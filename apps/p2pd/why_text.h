/* p2pd.why/1 for a person: one screen. */
#ifndef P2PD_APPS_P2PD_WHY_TEXT_H
#define P2PD_APPS_P2PD_WHY_TEXT_H

#include <jansson.h>
#include <stdio.h>

void why_text_print(json_t *why, FILE *out);

#endif
