// Makes every call of the protos with Go code that was generated from them, and prints each answer as a line of JSON:
// {"call": …, "answer": …}, or {"call": …, "code": …, "message": …, "details": …} for a call that fails.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"time"

	v1 "example.org/engine/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// What the test gives: sockets, and what there is to ask for.
type given struct {
	User, Admin, Image, Missing, Spec, Registry, Username, Secret string
}

type line struct {
	Call    string            `json:"call"`
	Answer  json.RawMessage   `json:"answer,omitempty"`
	Code    string            `json:"code,omitempty"`
	Message string            `json:"message,omitempty"`
	Details map[string]string `json:"details,omitempty"`
}

var out = json.NewEncoder(os.Stdout)

func said(call string, answer proto.Message, err error) {
	told := line{Call: call}
	if err != nil {
		state := status.Convert(err)
		told.Code, told.Message, told.Details = state.Code().String(), state.Message(), map[string]string{}
		for _, detail := range state.Details() {
			switch detail := detail.(type) {
			case *errdetails.ErrorInfo:
				told.Details["reason"], told.Details["fault"] = detail.Reason, detail.Metadata["fault"]
			case *errdetails.BadRequest:
				told.Details["field"] = detail.FieldViolations[0].Field
			case *errdetails.RetryInfo:
				told.Details["retry_after"] = detail.RetryDelay.AsDuration().String()
			}
		}
	} else {
		told.Answer, _ = protojson.Marshal(answer)
	}
	if err := out.Encode(told); err != nil {
		log.Fatal(err)
	}
}

// One call with one answer, which is returned to be of use for further calls.
func one[Q, A proto.Message](
	call string, ask func(context.Context, Q, ...grpc.CallOption) (A, error), ctx context.Context, request Q,
) A {
	answer, err := ask(ctx, request)
	said(call, answer, err)
	return answer
}

// One call with a stream of answers.
func many[Q proto.Message, A any, P interface {
	*A
	proto.Message
}](
	call string,
	ask func(context.Context, Q, ...grpc.CallOption) (grpc.ServerStreamingClient[A], error),
	ctx context.Context, request Q,
) {
	stream, err := ask(ctx, request)
	for err == nil {
		var answer *A
		if answer, err = stream.Recv(); err == nil {
			said(call, P(answer), nil)
		}
	}
	if !errors.Is(err, io.EOF) {
		said(call, nil, err)
	}
}

func dial(path string) *grpc.ClientConn {
	connection, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	return connection
}

func main() {
	var g given
	if err := json.NewDecoder(os.Stdin).Decode(&g); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	user, admin := dial(g.User), dial(g.Admin)
	containers, tokens := v1.NewContainerServiceClient(user), v1.NewTokenServiceClient(user)
	images, conda := v1.NewImageServiceClient(user), v1.NewCondaServiceClient(user)
	logins, daemon := v1.NewLoginServiceClient(user), v1.NewDaemonServiceClient(admin)
	cache := v1.NewCacheServiceClient(admin)
	packages := &v1.Packages{Entries: []string{g.Spec}}

	made := one("Resolve", containers.Resolve, ctx, &v1.ResolveRequest{
		Source: &v1.ResolveRequest_Packages{Packages: packages},
	})
	many[*v1.WatchRequest, v1.WatchResponse]("Watch", containers.Watch, ctx, &v1.WatchRequest{Token: made.GetToken()})
	one("Describe", tokens.Describe, ctx, &v1.DescribeRequest{Token: made.GetToken()})
	one("Log", tokens.Log, ctx, &v1.LogRequest{Token: made.GetToken()})
	one("ListRequests", tokens.ListRequests, ctx, &v1.ListRequestsRequest{})
	one("Inspect", images.Inspect, ctx, &v1.InspectRequest{Image: g.Image})
	many[*v1.PrefetchRequest, v1.PrefetchResponse]("Prefetch", images.Prefetch, ctx, &v1.PrefetchRequest{
		Images: []string{g.Image},
	})
	many[*v1.MirrorRequest, v1.MirrorResponse]("Mirror", images.Mirror, ctx, &v1.MirrorRequest{
		Images: []string{g.Image}, Target: g.Registry + "/copies", DryRun: true,
	})
	one("Solve", conda.Solve, ctx, &v1.SolveRequest{Packages: packages})
	one("Lock", conda.Lock, ctx, &v1.LockRequest{
		Of: &v1.LockRequest_Token{Token: made.GetToken()}, Format: v1.LockFormat_LOCK_FORMAT_PIXI,
	})
	one("Login", logins.Login, ctx, &v1.LoginRequest{
		Registry: g.Registry, Username: g.Username, Secret: g.Secret, Unchecked: true,
	})
	one("ListLogins", logins.ListLogins, ctx, &v1.ListLoginsRequest{})
	one("Logout", logins.Logout, ctx, &v1.LogoutRequest{Registry: g.Registry})
	one("Status", daemon.Status, ctx, &v1.StatusRequest{})
	one("Settings", daemon.Settings, ctx, &v1.SettingsRequest{})
	one("Reload", daemon.Reload, ctx, &v1.ReloadRequest{})
	many[*v1.ListRequest, v1.ListResponse]("List", cache.List, ctx, &v1.ListRequest{})
	one("Stats", cache.Stats, ctx, &v1.StatsRequest{})
	one("Pin", cache.Pin, ctx, &v1.PinRequest{Names: []string{g.Image}})
	one("Unpin", cache.Unpin, ctx, &v1.UnpinRequest{Names: []string{g.Image}})
	one("Collect", cache.Collect, ctx, &v1.CollectRequest{Names: []string{g.Image}})
	one("Evict", tokens.Evict, ctx, &v1.EvictRequest{Token: made.GetToken()})
	one("Missing", images.Inspect, ctx, &v1.InspectRequest{Image: g.Missing})
}
