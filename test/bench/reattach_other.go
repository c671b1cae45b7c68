//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

func reattach(context.Context, []string, io.Writer) error {
	return usageError{errors.New("reattach needs Linux, for network namespaces")}
}
