// Reads X and skews it. Array rows are fed in G groups of R/G; group g holds its
// own sub-block of K and reads token t - g in cycle t (lsp_gather has the banks).
// Row r of group g then waits r - g cycles more.
module lsp_feed #(
    parameter int R = 4,
    parameter int A = 8,
    parameter int G = 1,
    parameter int ROW = 16,
    parameter int UNIT = 16,
    parameter int XB = 1,
    parameter int RW = 3
) (
    input  logic              clk,
    input  logic              rst,
    input  logic              stream,
    input  logic              begins,
    input  logic              port,
    input  logic [XB-1:0]     bank,
    input  logic [ROW-1:0]    row,
    input  logic [RW-1:0]     rows,
    input  logic [G*UNIT-1:0] units,
    // by group: address now, data in the next cycle
    output logic [R-1:0]      read_lane,
    output logic [G-1:0]      read_port,
    output logic [G*XB-1:0]   read_bank,
    output logic [G*ROW-1:0]  read_row,
    output logic [G*UNIT-1:0] read_unit,
    input  logic [R*A-1:0]    read_data,
    // array
    output logic [R*A-1:0]    a_left,
    output logic [R-1:0]      first_left
);
    localparam int H = R / G;  // rows of a group

    for (genvar g = 0; g < G; g++) begin : g_group
        logic valid, first, own_port;
        logic [XB-1:0] own_bank;
        logic [ROW-1:0] own_row;
        logic [RW-1:0] real_rows;
        logic [(G-g)*UNIT-1:0] own;  // sub-blocks of this group and those below

        if (g == 0) begin : g_now
            assign valid = stream;
            assign first = begins;
            assign own_port = port;
            assign own_bank = bank;
            assign own_row = row;
            assign real_rows = rows;
            assign own = units;
        end else begin : g_later
            always_ff @(posedge clk) begin
                valid <= g_group[g-1].valid && !rst;
                first <= g_group[g-1].first;
                own_port <= g_group[g-1].own_port;
                own_bank <= g_group[g-1].own_bank;
                own_row <= g_group[g-1].own_row;
                real_rows <= g_group[g-1].real_rows;
                own <= g_group[g-1].own[(G-g+1)*UNIT-1:UNIT];
            end
        end
        assign read_port[g] = own_port;
        assign read_bank[g*XB+:XB] = own_bank;
        assign read_row[g*ROW+:ROW] = own_row;
        assign read_unit[g*UNIT+:UNIT] = own[UNIT-1:0];

        logic first_1;
        logic [H-1:0] lane_1;
        always_ff @(posedge clk) begin
            first_1 <= valid && first && !rst;
            lane_1 <= read_lane[g*H+:H];
        end
        for (genvar h = 0; h < H; h++) begin : g_lane
            logic [A:0] now;
            assign read_lane[g*H+h] = valid && real_rows > RW'(g * H + h);
            assign now = {first_1, lane_1[h] ? read_data[(g*H+h)*A+:A] : A'(0)};
            lsp_delay #(.WIDTH(A + 1), .N(g * H + h - g)) skew (
                .clk,
                .d(now),
                .q({first_left[g*H+h], a_left[(g*H+h)*A+:A]})
            );
        end
    end
endmodule
