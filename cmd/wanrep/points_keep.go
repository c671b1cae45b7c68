package main

import (
	"fmt"
	"strconv"
	"strings"

	"wanrep/configs"
)

// keepRules are keep rules in one flag, "last=3,daily=14,min_age=7d", by the names that
// they have in a config. Rules that are not named stay what they were.
type keepRules configs.Retention

func (k *keepRules) Type() string { return "rules" }

func (k *keepRules) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "last=%d", k.Last)
	for _, rule := range k.counts()[1:] {
		if *rule.n != 0 {
			fmt.Fprintf(&text, ",%s=%d", rule.name, *rule.n)
		}
	}
	text.WriteString(",min_age=" + k.MinAge.String())
	return text.String()
}

type keepCount struct {
	name string
	n    *int
}

func (k *keepRules) counts() []keepCount {
	return []keepCount{{"last", &k.Last}, {"daily", &k.Daily}, {"weekly", &k.Weekly}, {"monthly", &k.Monthly}}
}

// Set reads rules.
func (k *keepRules) Set(text string) error {
	for rule := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(rule, "=")
		if err := k.set(strings.TrimSpace(name), strings.TrimSpace(value)); err != nil {
			return err
		}
	}
	return nil
}

func (k *keepRules) set(name, value string) error {
	if name == "min_age" {
		return k.MinAge.UnmarshalText([]byte(value))
	}
	for _, count := range k.counts() {
		if count.name != name {
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			return fmt.Errorf("%s: %q is not a number of points", name, value)
		}
		*count.n = n
		return nil
	}
	return fmt.Errorf("%q is no rule; the rules are last, daily, weekly, monthly and min_age", name)
}
