package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"

	"wanrep/replicate/progress"
)

// A Client asks the appliance on a socket. The zero value but for Socket works.
// When nobody answers, its errors are an [UnreachableError]; when the appliance
// refuses, an [Error].
type Client struct {
	Socket string
}

// errSilent is why a Client gives up on an appliance that accepts and is quiet.
var errSilent = errors.New("it does not answer in time")

// Status returns the appliance's status.
func (c *Client) Status(ctx context.Context) (progress.Status, error) {
	var s progress.Status
	err := c.ask(ctx, http.MethodGet, "/v1/status", nil, &s)
	return s, err
}

// PeerStatus returns what a target tells of the VMs of the source on the socket.
func (c *Client) PeerStatus(ctx context.Context, peer string) (progress.Status, error) {
	var s progress.Status
	err := c.ask(ctx, http.MethodGet, "/v1/peers/"+url.PathEscape(peer)+"/status", nil, &s)
	return s, err
}

// PeerPoints returns the document of the points that a target keeps of one VM of the
// source on the socket.
func (c *Client) PeerPoints(ctx context.Context, peer, vm string) (json.RawMessage, error) {
	var doc json.RawMessage
	err := c.ask(ctx, http.MethodGet, "/v1/peers/"+url.PathEscape(peer)+"/points?vm="+url.QueryEscape(vm), nil, &doc)
	return doc, err
}

// Points returns the document of the points of the appliance's store.
func (c *Client) Points(ctx context.Context) (json.RawMessage, error) {
	var doc json.RawMessage
	err := c.ask(ctx, http.MethodGet, "/v1/points", nil, &doc)
	return doc, err
}

// Peers returns whom the appliance is paired with.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) {
	var a peersAnswer
	err := c.ask(ctx, http.MethodGet, "/v1/pair", nil, &a)
	return a.Peers, err
}

// Remove makes the appliance forget a peer.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.ask(ctx, http.MethodDelete, "/v1/pair/"+url.PathEscape(name), nil, nil)
}

// Run asks for one run of a job and returns its report, which may be there even
// beside an error. Each status that arrives meanwhile is given to each. When ctx
// ends, the run is interrupted, and Run still waits for its report.
func (c *Client) Run(ctx context.Context, job string, each func(progress.Status)) (json.RawMessage, error) {
	// The stream outlives ctx, so that the report of an interrupted run arrives.
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if c.ask(whole, http.MethodDelete, "/v1/runs/"+url.PathEscape(job), nil, nil) != nil {
			cancel()
			return
		}
		timer := time.AfterFunc(endTimeout, cancel)
		context.AfterFunc(whole, func() { timer.Stop() })
	})
	defer stop()
	var last line
	err := c.stream(whole, http.MethodPost, "/v1/runs", runRequest{Job: job}, func(l line) bool {
		if l.Status != nil {
			each(*l.Status)
			return true
		}
		last = l
		return false
	})
	if ctx.Err() != nil && err != nil {
		err = ctx.Err()
	}
	if err == nil && last.Error != nil {
		err = last.Error
	}
	if err == nil && last.Report == nil {
		err = c.cut()
	}
	return last.Report, err
}

// Offer asks for a one-time code.
func (c *Client) Offer(ctx context.Context) (Offer, error) {
	var first line
	err := c.stream(ctx, http.MethodPost, "/v1/pair/offer", offerRequest{}, func(l line) bool {
		first = l
		return false
	})
	if err == nil && first.Offer == nil {
		err = c.cut()
	}
	if err != nil {
		return Offer{}, err
	}
	return *first.Offer, nil
}

// OfferAndWait asks for a one-time code, gives it to show, and returns who used
// it. When ctx ends, the code is void.
func (c *Client) OfferAndWait(ctx context.Context, show func(Offer)) (Peer, error) {
	var last line
	err := c.stream(ctx, http.MethodPost, "/v1/pair/offer", offerRequest{Wait: true}, func(l line) bool {
		if l.Offer != nil {
			show(*l.Offer)
			return true
		}
		last = l
		return false
	})
	if err == nil && last.Error != nil {
		err = last.Error
	}
	if err == nil && last.Joined == nil {
		err = c.cut()
	}
	if err != nil {
		return Peer{}, err
	}
	return *last.Joined, nil
}

// ask makes one request; req and answer may be nil.
func (c *Client) ask(ctx context.Context, method, path string, req, answer any) error {
	body, err := bodyOf(req)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxLineBytes))
	if err != nil {
		return c.lost(ctx, err)
	}
	if answer == nil {
		return nil
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return c.foreign(err)
	}
	return nil
}

func bodyOf(req any) ([]byte, error) {
	if req == nil {
		return nil, nil
	}
	return json.Marshal(req)
}

// stream makes a request that is answered by lines, until each wants no more.
// It fails when no line arrives for two answerTimeouts, except that an offer's
// second line may take as long as the code lives.
func (c *Client) stream(ctx context.Context, method, path string, req any, each func(line) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body, err := bodyOf(req)
	if err != nil {
		return err
	}
	silence := time.AfterFunc(2*answerTimeout, func() { cancel(errSilent) })
	defer silence.Stop()
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLineBytes)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return c.foreign(err)
		}
		if !each(l) {
			return nil
		}
		if l.Offer != nil {
			silence.Stop()
		} else {
			silence.Reset(2 * answerTimeout)
		}
	}
	if err := lines.Err(); err != nil {
		return c.lost(ctx, err)
	}
	return c.cut()
}

// do sends a request and turns a refusal into its Error. The connection is used
// once: a command asks little, and nothing of it stays behind.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	if err := checkPath(c.Socket); err != nil {
		return nil, &UnreachableError{Socket: c.Socket, Err: err, tip: (&pathError{}).Hint()}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://wanrep"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", c.Socket)
		},
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var a errorAnswer
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxRequestBytes))
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if err := json.Unmarshal(data, &a); err != nil || a.Error == nil {
		return nil, c.foreign(errors.New("status " + resp.Status))
	}
	return nil, a.Error
}

// unreachable says why nobody answers, and what to do about it.
func (c *Client) unreachable(ctx context.Context, err error) error {
	u := &UnreachableError{Socket: c.Socket, Err: err}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		u.Err = op.Err // without the address, which the message has already
	}
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return ctx.Err()
	case errors.Is(err, fs.ErrNotExist):
		u.Err = errors.New("there is no such socket")
		u.tip = "start the appliance with wanrep serve, or name its file with --config or its socket with --socket"
	case errors.Is(err, fs.ErrPermission):
		u.Err = fs.ErrPermission
		u.tip = "use the account that runs the appliance, or join the group that owns the socket (usually wanrep)"
	case isRefused(err):
		u.Err = errors.New("the appliance that made it is gone")
		u.tip = "start it again with wanrep serve; its log says why it ended"
	default:
		if ctx.Err() != nil {
			u.Err = errSilent
		}
		u.tip = "it may be busy or hang; look at its log, then restart it"
	}
	return u
}

// lost is for an answer that breaks off.
func (c *Client) lost(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return fmt.Errorf("wait for the appliance on %s: %w", c.Socket, ctx.Err())
	}
	if ctx.Err() != nil {
		err = errSilent
	}
	return &UnreachableError{Socket: c.Socket, Err: err, tip: "the appliance may just have ended; look at its log"}
}

// cut is for an answer that ends before it is whole.
func (c *Client) cut() error {
	return &UnreachableError{Socket: c.Socket, Err: errors.New("the answer ended early"),
		tip: "the appliance may just have ended; look at its log"}
}

// foreign is for an answer that no appliance gives.
func (c *Client) foreign(err error) error {
	return &UnreachableError{Socket: c.Socket, Err: fmt.Errorf("the answer is not an appliance's: %.200v", err),
		tip: "see which program made this socket"}
}
