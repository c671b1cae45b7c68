//go:build !linux

package quicx

import (
	"context"
	"errors"
)

// kernelChanges is Linux's; elsewhere the interfaces are polled.
func kernelChanges(context.Context, func()) error { return errors.ErrUnsupported }
