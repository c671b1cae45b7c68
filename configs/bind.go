package configs

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// bind puts a parsed table into a struct by its "toml" tags. In contrast to the
// TOML package it goes on after a problem, so that all are found at once, and it
// knows the line of each.
func (d *document) bind(into reflect.Value, table map[string]any, path string) {
	fields := map[string]reflect.Value{}
	for i := range into.NumField() {
		if key := tomlKey(into.Type().Field(i)); key != "" {
			fields[key] = into.Field(i)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(table)) {
		at := join(path, key)
		field, known := fields[key]
		if !known {
			d.unknown(at, key, path, slices.Sorted(maps.Keys(fields)))
			continue
		}
		d.bindValue(field, table[key], at)
	}
}

// tomlKey returns the key of a struct's field, "" if it is not in the file.
func tomlKey(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
	return strings.TrimPrefix(key, "-")
}

func (d *document) bindValue(into reflect.Value, value any, at string) {
	if text, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.bindText(text, value, at)
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		if table, ok := value.(map[string]any); ok {
			if job, ok := into.Addr().Interface().(*Job); ok {
				job.setDefaults()
			}
			d.bind(into, table, at)
			return
		}
	case reflect.Slice:
		if list, ok := asList(value); ok {
			into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
			for i, v := range list {
				d.bindValue(into.Index(i), v, element(at, i))
			}
			return
		}
	case reflect.String:
		if s, ok := value.(string); ok {
			into.SetString(s)
			return
		}
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			into.SetBool(b)
			return
		}
	case reflect.Int:
		if n, ok := value.(int64); ok && int64(int(n)) == n {
			into.SetInt(n)
			return
		}
	}
	d.problem(at, "", "%s must be %s, not %s", lastKey(at), kindName(into.Type()), tomlName(value))
}

// bindText binds a value with a unit.
func (d *document) bindText(into encoding.TextUnmarshaler, value any, at string) {
	switch v := value.(type) {
	case string:
		if err := into.UnmarshalText([]byte(v)); err != nil {
			d.problem(at, "", "%s: %v", lastKey(at), err)
		}
	case int64, float64:
		// The type's own message for a number without a unit says what to write.
		number := fmt.Sprint(v)
		if err := into.UnmarshalText([]byte(number)); err != nil {
			_, fix, _ := strings.Cut(err.Error(), "; ")
			d.problem(at, fix, "%s = %s has no unit", lastKey(at), number)
		}
	default:
		d.problem(at, "", "%s must be a string in quotes, not %s", lastKey(at), tomlName(value))
	}
}

// asList takes both forms that the TOML package has for an array.
func asList(value any) ([]any, bool) {
	switch v := value.(type) {
	case []any:
		return v, true
	case []map[string]any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list, true
	}
	return nil, false
}

func (d *document) unknown(at, key, table string, known []string) {
	hint := belongs(key, table)
	if hint == "" {
		hint = didYouMean(key, known)
	}
	where := "at the top of the file"
	if table != "" {
		where = "in " + d.tableName(table)
	}
	d.problem(at, hint, "unknown key %q %s", clip(key), where)
}

// belongs returns a hint for a key that stands in the wrong table: TOML takes
// whatever is appended to a file as part of the last one.
func belongs(key, table string) string {
	var homes []string
	config := reflect.TypeFor[Config]()
	for f := range config.Fields() {
		header, inner := "["+tomlKey(f)+"]", f.Type
		if inner.Kind() == reflect.Slice {
			header, inner = "["+header+"]", inner.Elem()
		}
		if tomlKey(f) == key && table != "" {
			if inner.Kind() == reflect.Struct {
				return fmt.Sprintf("%s is a table of its own", header)
			}
			return fmt.Sprintf("%q belongs above the first table", key)
		}
		if inner.Kind() != reflect.Struct {
			continue
		}
		for field := range inner.Fields() {
			if tomlKey(field) == key {
				homes = append(homes, header)
			}
		}
	}
	if len(homes) != 1 {
		return ""
	}
	return fmt.Sprintf("%q belongs under %s", key, homes[0])
}

// tableName returns what a reader of the file calls the table at path:
// `[link]`, `[[job]] "nightly"`.
func (d *document) tableName(path string) string {
	top, _, _ := strings.Cut(path, ".")
	name, number, isArray := strings.Cut(strings.TrimSuffix(top, "]"), "[")
	if !isArray {
		return "[" + name + "]"
	}
	text := "[[" + name + "]]"
	if n, err := strconv.Atoi(number); err == nil {
		if called := d.called[element(name, n)]; called != "" {
			return fmt.Sprintf("%s %q", text, clip(called))
		}
	}
	return text
}

// noteNames remembers the names of the tables of arrays, for messages.
func (d *document) noteNames(root map[string]any) {
	d.called = map[string]string{}
	for key, value := range root {
		list, _ := asList(value)
		for i, v := range list {
			if table, ok := v.(map[string]any); ok {
				d.called[element(key, i)], _ = table["name"].(string)
			}
		}
	}
}

func lastKey(at string) string { return at[strings.LastIndexByte(at, '.')+1:] }

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		return "a table"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "a list of tables"
		}
		return "a list in [brackets]"
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	}
	return "a string in quotes"
}

func tomlName(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64, float64:
		return "a number"
	case bool:
		return "true or false"
	case map[string]any:
		return "a table"
	}
	if _, ok := asList(value); ok {
		return "a list"
	}
	return "a date"
}
