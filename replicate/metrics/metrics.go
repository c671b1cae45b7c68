// Package metrics shows an appliance to Prometheus. It turns what stands on the
// board, and the counters behind it, into metrics whose names and labels do not
// change from version 1.0 on; it measures nothing itself.
//
// Times are timestamps, not ages, so that they stay right while an appliance is
// down; 0 is never. Labels are names of peers, VMs and disks, never paths or texts of
// errors. At a source, peer is the target of the VM's job; at a target, the VM's
// source. Start with names.go, which lists every metric, and [Serve].
package metrics

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"wanrep/replicate/progress"
)

// Limits of the listener. A scrape of a thousand VMs takes some tens of
// milliseconds and has some MiB.
const (
	scrapeTimeout  = 10 * time.Second
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute // Prometheus keeps its connection from scrape to scrape
	maxHeaderBytes = 16 << 10
	maxScrapes     = 4 // at once
	endTimeout     = time.Second
)

// Facts are what the board does not know of the process.
type Facts struct {
	Version string
	Go      string
	// ConfigRead is when the config was read, CertificateEnds when this appliance's
	// own certificate does.
	ConfigRead      time.Time
	CertificateEnds time.Time
}

// Serve answers GET /metrics on ln until ctx ends, then closes ln and returns nil.
func Serve(ctx context.Context, ln net.Listener, board *progress.Board, facts Facts, log *slog.Logger) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(board, facts), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	errors := slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: errors, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	}))
	server := &http.Server{
		Handler:           http.MaxBytesHandler(mux, 0),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       scrapeTimeout,
		WriteTimeout:      2 * scrapeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		defer cancel()
		if server.Shutdown(end) != nil {
			server.Close()
		}
	})
	err := server.Serve(ln)
	if stop() { // the listener broke
		server.Close()
		return err
	}
	<-ended
	return nil
}
